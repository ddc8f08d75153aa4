"""The rows of the feature table, and which tests and which sections of an input they are about.

A row is a component of one of the tables in ``dpjax.config`` (``descriptor/se_e2_a``), an option that stands for a part of a
model (``option/model/spin``), or a use (``use/JAX-MD``).  Components and options come from the sections that a test builds;
uses come from the place of the test, as ``tests`` mirrors the package.
"""

from __future__ import annotations

from typing import Any

from dpjax.config.descriptors import DESCRIPTORS
from dpjax.config.fittings import FITTINGS
from dpjax.config.learning_rate import LEARNING_RATES
from dpjax.config.losses import LOSSES
from dpjax.config.models import MODELS
from dpjax.config.models.modifier import MODIFIERS
from dpjax.config.optimizers import OPTIMIZERS

TABLES = {
    "descriptor": DESCRIPTORS,
    "fitting": FITTINGS,
    "model": MODELS,
    "modifier": MODIFIERS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "learning_rate": LEARNING_RATES,
}

# options that are parts of their own, by the table of the component that has them, with what to call them
OPTIONS = {
    "model": {
        "type_embedding": "type embedding of the model",
        "spin": "spins",
        "use_srtab": "pair table at short distances",
        "bridging_method": "bridging to the ZBL repulsion",
        "lora": "low-rank corrections (`lora`)",
        "pair_exclude_types": "excluded pairs",
        "atom_exclude_types": "excluded types",
        "preset_out_bias": "preset bias",
        "nvnmd": "the NVNMD hardware",
    },
    "descriptor": {
        "exclude_types": "excluded pairs of a descriptor",
        "add_chg_spin_ebd": "charge and spin of the frame",
    },
    "fitting": {
        "numb_fparam": "frame parameters",
        "numb_aparam": "atomic parameters",
        "dim_case_embd": "case vectors",
        "atom_ener": "energies of free atoms (`atom_ener`)",
        "layer_name": "shared layers (`layer_name`)",
    },
}

# what models are used for, with the tests of it
USES = {
    "DeePMD-kit's model files": ("tests/interop/test_checkpoint_files.py", "tests/interop/test_standard.py"),
    "Python (`evaluate`)": ("tests/interfaces/test_potential.py", "tests/interfaces/test_batches.py"),
    "DeePMD-kit's `DeepPot`": ("tests/interfaces/test_deepmd.py", "tests/interfaces/test_deepmd_peer.py"),
    "ASE": ("tests/interfaces/test_ase.py",),
    "i-PI": ("tests/interfaces/test_ipi.py",),
    "JAX-MD": ("tests/interfaces/test_jax_md.py",),
    "LAMMPS": ("tests/interop/test_lammps.py",),
    "dpdata": ("tests/interfaces/test_dpdata.py",),
    "frozen artifact": ("tests/export/",),
    "compression": ("tests/compress/",),
    "descriptors and last layers": ("tests/interfaces/test_features.py",),
    "model deviation": ("tests/interfaces/test_deviation.py",),
    "Hessians, normal modes": ("tests/models/test_hessian.py", "tests/interfaces/test_vibrations.py"),
    "one structure on several devices": ("tests/interfaces/test_spread.py", "tests/models/test_division.py"),
    "restart": ("tests/training/test_restart.py",),
    "fine-tuning": ("tests/finetune/test_tuning.py", "tests/finetune/test_remap.py", "tests/finetune/test_sections.py"),
    "changed bias": ("tests/finetune/test_change_bias.py",),
    "several tasks": ("tests/training/test_tasks.py",),
    "ensembles": ("tests/training/test_ensemble.py",),
    "mixed precision": ("tests/training/test_mixed_precision.py",),
    "full validation": ("tests/training/test_full_validation.py",),
    "training on several devices": ("tests/training/test_devices.py",),
    "ZeRO": ("tests/training/test_zero.py",),
    "training on several hosts": ("tests/training/test_hosts.py",),
    "data: deepmd/npy and mixed": ("tests/data/test_npy_systems.py", "tests/data/test_mixed_examples.py"),
    "data: HDF5": ("tests/data/test_hdf5.py",),
    "data: LMDB": ("tests/data/test_lmdb.py",),
    "data: extended XYZ": ("tests/data/test_xyz.py",),
}

CONTRACT, GOLDEN, TRAINING, USE = KINDS = ("contract", "golden", "training", "use")

# where tests compare with stored numbers, and where they train
COMPARING = ("models", "nn", "losses", "optimizers", "schedules", "interop", "statistics", "training", "descriptors")
TRAINS = ("training", "finetune")

_NEUTRAL = (None, False, 0, "", "none")


def components() -> dict[str, bool]:
    """Rows of the tables of ``dpjax.config``, with whether this version has them."""
    return {f"{kind}/{c.name}": c.built for kind, table in TABLES.items() for c in table.components}


def options() -> dict[str, str]:
    """Rows of options, with what to call them."""
    return {f"option/{kind}/{key}": title for kind, of_kind in OPTIONS.items() for key, title in of_kind.items()}


def rows() -> list[str]:
    """All rows in their order."""
    return [*components(), *options(), *(f"use/{name}" for name in USES)]


def row_of(component: Any) -> str | None:
    """The row of a ``Component``; None for one that only stands inside others."""
    return _BY_IDENTITY.get(id(component))


_BY_IDENTITY = {id(c): f"{kind}/{c.name}" for kind, table in TABLES.items() for c in table.components}


def options_of(row: str, section: dict) -> set[str]:
    """Rows of the options that a section of the component ``row`` gives a value that asks for something."""
    kind = row.partition("/")[0]
    return {f"option/{kind}/{key}" for key in OPTIONS.get(kind, ()) if _asks(section.get(key))}


def _asks(value: Any) -> bool:
    if isinstance(value, list | tuple | dict):
        return bool(value)
    return not any(value is n or (value == n and type(value) is type(n)) for n in _NEUTRAL)


def uses_of(path: str) -> set[str]:
    """Rows of the uses that the tests of a file, given relative to the repository, are about."""
    return {f"use/{name}" for name, places in USES.items() if path.startswith(places)}


def kind_of(path: str, reads_numbers: bool) -> str | None:
    """What a test shows of the components that it builds; None where it shows nothing of them.

    Args:
        path: of the file, relative to the repository.
        reads_numbers: whether the test reads numbers that were made with DeePMD-kit.
    """
    folder = path.split("/")[1] if path.count("/") > 1 else ""
    if folder == "contracts":
        return CONTRACT
    if reads_numbers and folder in COMPARING:
        return GOLDEN
    return TRAINING if folder in TRAINS else None
