#!/usr/bin/env python3
"""What DeePMD-kit's backends and deepmd-jax have, for the feature table: ``PEER/bin/python scripts/probe_deepmd.py -o FILE``.

Run by the Python of an environment with DeePMD-kit; imports nothing of dpjax.  For each row of the table and each backend the
strongest evidence that there is:

- ``built``: a model, loss or schedule of this kind was made there, in this environment;
- ``source``: its class is in the backend's registry, or its module in the package, read without importing it;
- ``docs``: the option's documentation, or a page of the manual, names the backend.

``--manual DIR`` is a folder ``doc`` of DeePMD-kit's repository, ``--deepmd-jax DIR`` a checkout of that package; where one is not
given, what an earlier run wrote about it stays.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

BACKENDS = {"TensorFlow": "tf", "PyTorch": "pt", "JAX": "jax"}
OTHER = "deepmd-jax"
BUILT, SOURCE, DOCS = "built", "source", "docs"
_TABLES = ("descriptor/", "fitting/", "model/")  # rows whose classes are registered under more names than inputs have

# --- what is tried: the smallest section of each kind ----------------------------------------------------------------------------


def _two_body(kind: str, **options) -> dict:
    return {"type": kind, "rcut": 4.0, "rcut_smth": 0.5, "sel": [8, 8], "neuron": [4, 8], **options}


def _of_vectors(kind: str, **options) -> dict:
    return {"type": kind, "rcut": 4.0, "rcut_smth": 0.5, "sel": 12, "neuron": [4, 8], **options}


TWO_BODY = _two_body("se_e2_a", axis_neuron=2)
_REPINIT = {"rcut": 4.0, "rcut_smth": 0.5, "nsel": 12, "neuron": [4, 8], "axis_neuron": 2, "tebd_dim": 4}
_REPFORMER = {"rcut": 3.0, "rcut_smth": 0.5, "nsel": 8, "nlayers": 1, "g1_dim": 8, "g2_dim": 4, "axis_neuron": 2}
_REPFLOW = {"n_dim": 8, "e_dim": 4, "a_dim": 4, "nlayers": 1, "e_rcut": 4.0, "e_rcut_smth": 3.0, "e_sel": 12}
_REPFLOW |= {"a_rcut": 3.0, "a_rcut_smth": 2.0, "a_sel": 8, "axis_neuron": 2}
_FRAME = {"type": "loc_frame", "rcut": 4.0, "sel_a": [4, 4], "sel_r": [4, 4], "axis_rule": [0, 1, 0, 0, 1, 1] * 2}
_STATES = {"type": "dpa4", "rcut": 4.0, "sel": 12, "channels": 4, "n_radial": 4, "lmax": 1, "n_blocks": 1}

DESCRIPTORS = {
    "loc_frame": _FRAME,
    "se_e2_a": TWO_BODY,
    "dpa4": _STATES,
    "se_e3": _two_body("se_e3"),
    "se_a_tpe": _two_body("se_a_tpe", axis_neuron=2),
    "se_e2_r": _two_body("se_e2_r", type_one_side=True),
    "se_atten": _of_vectors("se_atten", axis_neuron=2, attn=4, attn_layer=1),
    "se_e3_tebd": _of_vectors("se_e3_tebd", tebd_dim=4),
    "se_atten_v2": _of_vectors("se_atten_v2", axis_neuron=2, attn=4, attn_layer=1),
    "dpa2": {"type": "dpa2", "repinit": _REPINIT, "repformer": _REPFORMER},
    "dpa3": {"type": "dpa3", "repflow": _REPFLOW},
    "se_a_ebd_v2": _two_body("se_a_ebd_v2", axis_neuron=2),
    "se_a_mask": {"type": "se_a_mask", "sel": [8, 8], "neuron": [4, 8], "axis_neuron": 2},
    "dpa4c": {"type": "dpa4c", "sel": 12, "rcut": 4.0, "lmax": 1, "n_blocks": 1},
    "hybrid": {"type": "hybrid", "list": [TWO_BODY, _two_body("se_e2_a", neuron=[4], axis_neuron=2)]},
}
FITTINGS = {
    "ener": {"type": "ener"},
    "dpa4_ener": {"type": "dpa4_ener"},
    "dos": {"type": "dos", "numb_dos": 3},
    "property": {"type": "property", "property_name": "gap", "task_dim": 1},
    "polar": {"type": "polar"},
    "dipole": {"type": "dipole"},
    "population": {"type": "population"},
}
LOSSES = {
    "ener": ({}, "ener"),
    "dens": ({}, "ener"),
    "ener_spin": ({}, "ener"),
    "dos": ({"start_pref_dos": 1.0, "limit_pref_dos": 1.0}, "dos"),
    "property": ({}, "property"),
    "tensor": ({"pref": 1.0, "pref_atomic": 1.0}, "dipole"),
    "population": ({}, "population"),
}
RATES = {"exp": {}, "cosine": {}, "wsd": {}}
OPTIMIZERS = ("Adam", "AdamW", "LKF", "AdaMuon", "HybridMuon")
SPIN = {"use_spin": [True, False], "virtual_scale": [0.3]}
MODEL_OPTIONS = {
    "type_embedding": {"type_embedding": {"neuron": [4]}},
    "spin": {"spin": SPIN},
    "use_srtab": {"use_srtab": "TABLE", "smin_alpha": 0.1, "sw_rmin": 0.8, "sw_rmax": 1.2},
    "bridging_method": {"type": "dpa4", "bridging_method": "ZBL"},
    "lora": {"type": "dpa4", "lora": {"rank": 2, "alpha": 2.0}},
    "pair_exclude_types": {"pair_exclude_types": [[0, 0]]},
    "atom_exclude_types": {"atom_exclude_types": [0]},
    "preset_out_bias": {"preset_out_bias": {"energy": [-1.0, None]}},
}
DESCRIPTOR_OPTIONS = {
    "exclude_types": TWO_BODY | {"exclude_types": [[0, 0]]},
    "add_chg_spin_ebd": DESCRIPTORS["dpa3"] | {"add_chg_spin_ebd": True},
}
FITTING_OPTIONS = {
    "numb_fparam": {"numb_fparam": 2},
    "numb_aparam": {"numb_aparam": 2},
    "dim_case_embd": {"dim_case_embd": 2},
    "atom_ener": {"atom_ener": [-1.0, None]},
}

OPTIONS_OF = {
    "model": (*MODEL_OPTIONS,),
    "descriptor": (*DESCRIPTOR_OPTIONS,),
    "fitting": (*FITTING_OPTIONS, "layer_name"),
}

# where the documentation of an option stands among the arguments of an input
MARKED_OPTIONS = {
    "option/model/nvnmd": "nvnmd",
    "modifier/dipole_charge": "modifier",
    "use/mixed precision": "mixed_precision",
    "use/ZeRO": "zero_stage",
    "use/full validation": "full_validation",
    **{f"option/{kind}/{name}": name for kind, options in OPTIONS_OF.items() for name in options},
}
# modules of a backend that show a row
MODULES = {
    "use/DeePMD-kit's model files": (
        "tf/utils/serialization.py",
        "pt/utils/serialization.py",
        "jax/utils/serialization.py",
    ),
    "use/Python (`evaluate`)": ("tf/infer/deep_eval.py", "pt/infer/deep_eval.py", "jax/infer/deep_eval.py"),
    "use/DeePMD-kit's `DeepPot`": ("tf/infer/deep_eval.py", "pt/infer/deep_eval.py", "jax/infer/deep_eval.py"),
    "use/JAX-MD": ("jax/jax_md/__init__.py",),
    "use/frozen artifact": ("tf/entrypoints/freeze.py", "pt/entrypoints/freeze_pt2.py", "jax/entrypoints/freeze.py"),
    "use/compression": ("tf/entrypoints/compress.py", "pt/entrypoints/compress.py", "jax/entrypoints/compress.py"),
    "use/changed bias": ("tf/entrypoints/change_bias.py",),
    "use/fine-tuning": ("tf/utils/finetune.py", "pt/utils/finetune.py", "jax/utils/finetune.py"),
    "use/several tasks": ("pt/utils/multi_task.py", "jax/utils/multi_task.py"),
    "use/full validation": ("pt/train/validation.py", "jax/train/validation.py"),
    "use/data: LMDB": ("pt/utils/lmdb_dataset.py",),
    "modifier/dipole_charge": ("tf/modifier/dipole_charge.py", "jax/modifier/dipole_charge.py"),
    "option/model/nvnmd": ("tf/nvnmd/__init__.py",),
    "option/model/type_embedding": ("tf/utils/type_embed.py",),
}
# modules that serve all backends
COMMON = {
    "use/ASE": "calculator.py",
    "use/dpdata": "driver.py",
    "use/model deviation": "infer/model_devi.py",
    "use/data: deepmd/npy and mixed": "utils/data.py",
    "use/data: HDF5": "utils/path.py",
}
RESTART = {
    "TensorFlow": "tf/train/run_options.py",
    "PyTorch": "pt/entrypoints/main.py",
    "JAX": "jax/entrypoints/train.py",
}
# pages of the manual that say which backends have a row; LAMMPS and i-PI go through the C++ library
PAGES = {
    "use/LAMMPS": "install/install-from-c-library.md",
    "use/i-PI": "install/install-from-c-library.md",
    "use/compression": "freeze/compress.md",
    "use/fine-tuning": "train/finetuning.md",
    "use/several tasks": "train/multi-task-training.md",
    "use/training on several devices": "train/parallel-training.md",
    "use/training on several hosts": "train/parallel-training.md",
    "use/changed bias": "model/change-bias.md",
    "use/descriptors and last layers": "inference/embedding.md",
    "use/Hessians, normal modes": "model/train-energy-hessian.md",
    "model/linear_ener": "model/linear.md",
    "model/pairtab": "model/pairtab.md",
    "model/pairwise_dprc": "model/dprc.md",
    "modifier/dipole_charge": "model/dplr.md",
    "option/model/nvnmd": "nvnmd/nvnmd.md",
    "descriptor/dpa4": "model/dpa4.md",
}
REGISTERED = {  # folders of the backend whose classes are registered under the type names of each table
    "tf": {"descriptor": "descriptor", "fitting": "fit", "model": "model", "modifier": "modifier"},
    "pt": {"descriptor": "model/descriptor", "fitting": "model/task", "model": "model/model"},
    "jax": {"descriptor": "descriptor", "fitting": "fitting", "model": "model"},
}
# deepmd-jax: its own names of what it predicts, and its modules
TYPES_OF_OTHER = {
    "energy": ["fitting/ener", "model/standard", "loss/ener"],
    "atomic": ["fitting/dipole", "loss/tensor"],
    "atomic_t2": ["fitting/polar"],
    "dplr": ["modifier/dipole_charge"],
}
MODULES_OF_OTHER = {"ase_calc.py": ["use/ASE"]}
FUNCTIONS_OF_OTHER = {
    "evaluate": ["use/Python (`evaluate`)"],
    "compress_model": ["use/compression"],
    "adam": ["optimizer/Adam"],
    "exponential_decay": ["learning_rate/exp"],
    "reorder_by_device": ["use/one structure on several devices"],
    "ExtXYZDataset": ["use/data: extended XYZ"],
    "DPDataset": ["use/data: deepmd/npy and mixed"],
}


# --- built ----------------------------------------------------------------------------------------------------------------------


def model_section(descriptor: dict = TWO_BODY, fitting: dict | None = None, **options) -> dict:
    """A model section of two types."""
    net = {"type": "ener", "neuron": [4], **(fitting or {})}
    return {
        "type_map": ["O", "H"],
        "descriptor": copy.deepcopy(descriptor),
        "fitting_net": net,
        **copy.deepcopy(options),
    }


def with_defaults(section: dict) -> dict:
    """The section as DeePMD-kit hands it to its models."""
    from deepmd.utils.argcheck import model_args

    (argument,) = _as_list(model_args())
    return argument.normalize_value(copy.deepcopy(section), trim_pattern="_*")


def builders() -> dict[str, Callable[[dict], Any]]:
    """For each backend that can be imported here, what makes a model of a section."""
    found = {}
    for name, module in (("PyTorch", "deepmd.pt.model.model"), ("JAX", "deepmd.jax.model.model")):
        try:
            found[name] = importlib.import_module(module).get_model
        except ImportError as error:
            print(f"{name}: cannot be imported here ({error})")
    return found


def model_attempts(table: str) -> Iterator[tuple[str, dict]]:
    """Rows that are shown by a model, with the section of one."""
    for name, section in DESCRIPTORS.items():
        yield f"descriptor/{name}", model_section(section)
        if name in ("dpa4", "dpa4c"):  # where they do not stand in a standard model
            yield f"descriptor/{name}", model_section(section, {"type": "dpa4_ener"}, type="dpa4")
    for name, section in FITTINGS.items():
        descriptor, options = (_STATES, {"type": "dpa4"}) if name == "dpa4_ener" else (TWO_BODY, {})
        yield f"fitting/{name}", model_section(descriptor, section, **options)
    pairs = {"type": "pairtab", "tab_file": table, "rcut": 4.0, "sel": 12, "type_map": ["O", "H"]}
    networks = model_section(DESCRIPTORS["se_atten"])
    yield "model/standard", model_section()
    yield "model/dpa4", model_section(_STATES, {"type": "dpa4_ener"}, type="dpa4")
    yield "model/pairtab", pairs
    yield (
        "model/linear_ener",
        {"type": "linear_ener", "type_map": ["O", "H"], "models": [networks, pairs], "weights": "sum"},
    )
    for name, options in MODEL_OPTIONS.items():
        own = {key: table if value == "TABLE" else value for key, value in options.items()}
        states = own.get("type") == "dpa4"
        descriptor, net = (_STATES, {"type": "dpa4_ener"}) if states else (TWO_BODY, {})
        if name == "use_srtab":
            descriptor = DESCRIPTORS["se_atten"]
        yield f"option/model/{name}", model_section(descriptor, net, **own)
    for name, section in DESCRIPTOR_OPTIONS.items():
        yield f"option/descriptor/{name}", model_section(section)
    for name, section in FITTING_OPTIONS.items():
        yield f"option/fitting/{name}", model_section(TWO_BODY, section)


class Attempts:
    """Tries things and keeps what came of it."""

    def __init__(self) -> None:
        self.built: set[tuple[str, str]] = set()
        self.failed: dict[str, str] = {}

    def __call__(self, row: str, backend: str, make: Callable[[], Any]) -> Any:
        try:
            made = make()
        except Exception as error:  # whatever stops it, it is not built; the reason is kept
            self.failed[f"{row}, {backend}"] = f"{type(error).__name__}: {error}".splitlines()[0][:160].strip()
            return None
        self.built.add((row, backend))
        return made


def _model(make: Callable, section: dict) -> Any:
    return make(with_defaults(section))


def try_models(attempt: Attempts, makers: dict[str, Callable]) -> None:
    """Models of all rows that a model shows."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "pairs.tab"
        table.write_text("".join(f"{0.5 + 0.1 * i:.1f} {' '.join(['0.0'] * 3)}\n" for i in range(40)))
        for row, section in model_attempts(str(table)):
            for backend, make in makers.items():
                attempt(row, backend, partial(_model, make, section))


def try_losses(attempt: Attempts, makers: dict[str, Callable]) -> None:
    """Losses by the functions that the trainers call."""
    for name, (options, fitting) in LOSSES.items():
        for backend, make in (("PyTorch", _torch_loss), ("JAX", _jax_loss)):
            if backend in makers:
                model = model_section(fitting=FITTINGS[fitting])
                attempt(f"loss/{name}", backend, partial(make, makers[backend], {"type": name, **options}, model))


def _loss_with_defaults(section: dict) -> dict:
    from deepmd.utils.argcheck import loss_args

    (argument,) = _as_list(loss_args())
    return argument.normalize_value(dict(section), trim_pattern="_*")


def _torch_loss(make: Callable, section: dict, model: dict) -> Any:
    from deepmd.pt.train.training import get_loss

    return get_loss(_loss_with_defaults(section), 1e-3, 2, make(with_defaults(model)))


def _jax_loss(make: Callable, section: dict, model: dict) -> Any:
    from deepmd.jax.train import trainer

    owner = next(c for c in vars(trainer).values() if isinstance(c, type) and hasattr(c, "_build_losses"))
    one = SimpleNamespace(multi_task=False, model_keys=["Default"])
    return owner._build_losses(one, {"loss": _loss_with_defaults(section)}, {"start_lr": 1e-3})


def try_rates(attempt: Attempts, makers: dict[str, Callable]) -> None:
    """Schedules, which all backends share."""
    from deepmd.dpmodel.utils.learning_rate import make_learning_rate_schedule

    for name, options in RATES.items():
        section = {"type": name, "start_lr": 1e-3, "stop_lr": 1e-5, **options}
        section |= {"decay_steps": 10} if name == "exp" else {}
        for backend in makers:
            attempt(f"learning_rate/{name}", backend, partial(make_learning_rate_schedule, section, 100))


def optimizers_in_source(package: Path) -> set[tuple[str, str]]:
    """Optimizers by the names that the trainers' sources compare with or call; not built, as trainers make them with the data."""
    torch = constants(package / "pt/train/training.py")
    found = {(f"optimizer/{name}", "PyTorch") for name in OPTIMIZERS if name in torch}
    calls = names(package / "jax/train/trainer.py")
    return found | ({("optimizer/Adam", "JAX")} if "scale_by_adam" in calls else set())


# --- source ---------------------------------------------------------------------------------------------------------------------


def tree(path: Path) -> ast.AST:
    return ast.parse(path.read_text(encoding="utf-8"))


def constants(path: Path) -> set[str]:
    """Strings of a module."""
    return {n.value for n in ast.walk(tree(path)) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def names(path: Path) -> set[str]:
    """Names, attributes and functions of a module."""
    found = set()
    for node in ast.walk(tree(path)):
        for field in ("id", "attr", "name"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                found.add(value)
    return found


def registered(folder: Path) -> set[str]:
    """Names under which the classes of a folder are registered."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(tree(path)):
            for call in getattr(node, "decorator_list", ()):
                if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "register" and call.args:
                    found.add(getattr(call.args[0], "value", ""))
    return found


def parameters(folder: Path) -> set[str]:
    """Names of what the classes of a folder are made from, but for what they take only to refuse it."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                found |= {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)} - _refused(node)
    return found


def _refused(function: ast.FunctionDef) -> set[str]:
    """Names in the conditions of a function that only raise an error saying `not supported`."""
    found = set()
    for node in ast.walk(function):
        if (
            isinstance(node, ast.If)
            and isinstance(node.body[0], ast.Raise)
            and "not supported" in ast.unparse(node.body[0])
        ):
            found |= {getattr(part, "attr", getattr(part, "id", "")) for part in ast.walk(node.test)}
    return found


def in_source(package: Path) -> Iterator[tuple[str, str]]:
    """Rows that the source of a backend has."""
    for backend, folder in BACKENDS.items():
        for kind, place in REGISTERED[folder].items():
            for name in registered(package / folder / place):
                yield f"{kind}/{name}", backend
    of_folder = {folder: backend for backend, folder in BACKENDS.items()}
    for row, paths in MODULES.items():
        yield from ((row, of_folder[path.split("/")[0]]) for path in paths if (package / path).exists())
    for row, path in COMMON.items():
        yield from ((row, backend) for backend in BACKENDS if (package / path).exists())
    for backend, path in RESTART.items():
        if "restart" in names(package / path):
            yield "use/restart", backend
    for backend, folder in BACKENDS.items():  # PyTorch's and JAX's classes have the parameters of those that they share
        for kind, options in OPTIONS_OF.items():
            taken = parameters(package / folder / REGISTERED[folder][kind])
            yield from ((f"option/{kind}/{name}", backend) for name in options if name in taken)


# --- documentation --------------------------------------------------------------------------------------------------------------

_MARK = re.compile(r"\(Supported Backend: ([^)]*)\)")


def marked(doc: str | None) -> set[str] | None:
    """The backends that a documentation names; None where it names none."""
    found = _MARK.findall(doc or "")
    return {name for text in found for name in BACKENDS if name in re.split(r",\s*", text)} if found else None


def variants() -> dict[str, Any]:
    """The choices of type that an input has, by table."""
    from deepmd.utils import argcheck

    return {
        "descriptor": argcheck.descrpt_variant_type_args(),
        "fitting": argcheck.fitting_variant_type_args(),
        "loss": argcheck.loss_variant_type_args(),
        "optimizer": _variant(argcheck.optimizer_args()),
        "learning_rate": _variant(argcheck.learning_rate_args()),
        "model": _variant(argcheck.model_args()),
    }


def argument_marks() -> Iterator[tuple[str, str]]:
    """Rows that the documentation of the input's arguments gives to a backend."""
    from deepmd.utils import argcheck

    for kind, variant in variants().items():
        for name, choice in variant.choice_dict.items():
            for backend in marked(choice.doc) or ():
                yield f"{kind}/{name}", backend
    options = [found for argument in argcheck.gen_args() for found in _options(argument)]
    for row, name in MARKED_OPTIONS.items():
        for backends in (b for key, b in options if key == name and b):
            yield from ((row, backend) for backend in backends)


def _variant(argument: Any) -> Any:
    (found,) = _as_list(argument)[0].sub_variants.values()
    return found


def _as_list(value: Any) -> list:
    return value if isinstance(value, list) else [value]


def _options(argument: Any) -> Iterator[tuple[str, set[str] | None]]:
    """Every option below an argument with the backends that its documentation names; None where it names none."""
    yield argument.name, marked(argument.doc)
    for option in argument.sub_fields.values():
        yield from _options(option)
    for variant in argument.sub_variants.values():
        for choice in variant.choice_dict.values():
            yield from _options(choice)


def page_marks(manual: Path) -> Iterator[tuple[str, str]]:
    """Rows that a page of the manual gives to a backend."""
    for row, page in PAGES.items():
        text = (manual / page).read_text(encoding="utf-8")
        line = re.search(r"\*\*Supported backends\*\*:(.*)", text)
        for backend in BACKENDS if line else ():
            if re.search(rf"\b{backend}\b", line.group(1)):
                yield row, backend


# --- deepmd-jax -----------------------------------------------------------------------------------------------------------------


def of_other(package: Path) -> set[str]:
    """Rows that the source of deepmd-jax shows: the types of model that its trainer tells apart, its modules and functions."""
    trainer = tree(package / "train.py")
    types = set()
    for node in ast.walk(trainer):
        if isinstance(node, ast.Compare) and getattr(node.left, "id", "") == "model_type":
            types |= {n.value for n in ast.walk(node) if isinstance(n, ast.Constant)}
    text = (
        ast.get_docstring(next(n for n in trainer.body if isinstance(n, ast.FunctionDef) and n.name == "train")) or ""
    )
    types |= {name for name in TYPES_OF_OTHER if f"'{name}'" in text}
    everything = set().union(*(names(path) for path in package.glob("*.py") if path.name != "deprecated.py"))
    found = [rows for name, rows in TYPES_OF_OTHER.items() if name in types]
    found += [rows for name, rows in MODULES_OF_OTHER.items() if (package / name).exists()]
    found += [rows for name, rows in FUNCTIONS_OF_OTHER.items() if name in everything]
    return {row for rows in found for row in rows}


# --- all together ---------------------------------------------------------------------------------------------------------------


def probe() -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Evidence by row and backend, and why things could not be built."""
    package = Path(importlib.import_module("deepmd").__file__).parent
    makers, attempt = builders(), Attempts()
    documented = set(argument_marks())
    try_models(attempt, makers)
    try_losses(attempt, makers)
    try_rates(attempt, makers)
    known = {f"{kind}/{name}" for kind, variant in variants().items() for name in variant.choice_dict}
    source = {(row, backend) for row, backend in in_source(package) if row in known or not row.startswith(_TABLES)}
    source |= optimizers_in_source(package)
    failed = {key: why for key, why in attempt.failed.items() if tuple(key.rsplit(", ", 1)) not in attempt.built}
    return merged({DOCS: documented, SOURCE: source, BUILT: attempt.built}), failed


def merged(evidence: dict[str, set[tuple[str, str]]]) -> dict[str, dict[str, str]]:
    """By row and backend the strongest of the evidence, which is given from the weakest to the strongest."""
    found: dict[str, dict[str, str]] = {}
    for kind, pairs in evidence.items():
        for row, backend in sorted(pairs):
            found.setdefault(row, {})[backend] = kind
    return found


def _version_of(checkout: Path) -> str:
    return re.search(r"version\s*=\s*['\"]([^'\"]+)", (checkout / "setup.py").read_text()).group(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--manual", type=Path, help="folder doc of DeePMD-kit's repository")
    parser.add_argument("--deepmd-jax", type=Path, help="checkout of deepmd-jax")
    args = parser.parse_args()
    from importlib.metadata import version

    before = json.loads(args.output.read_text()) if args.output.exists() else {}
    rows, failed = probe()
    pages = sorted(map(list, set(page_marks(args.manual)))) if args.manual else before.get("pages", [])
    for row, backend in pages:
        rows.setdefault(row, {}).setdefault(backend, DOCS)
    other = sorted(of_other(args.deepmd_jax / "deepmd_jax")) if args.deepmd_jax else before.get(OTHER, [])
    result = {"deepmd-kit": version("deepmd-kit"), "imported": sorted(builders()), "rows": rows, "not built": failed}
    result |= {"pages": pages, OTHER: other}
    number = _version_of(args.deepmd_jax) if args.deepmd_jax else before.get("deepmd-jax version")
    result |= {"deepmd-jax version": number} if number else {}
    args.output.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
    print(f"{args.output}: {sum(map(len, rows.values()))} entries, {len(failed)} attempts failed")


if __name__ == "__main__":
    main()
