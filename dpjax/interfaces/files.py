"""Potentials from files and back: ``load``, ``build``, ``save``."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dpjax.checkpoints import POINTER, CheckpointStore, is_checkpoint, load_checkpoint
from dpjax.compress import refuse_compressed
from dpjax.config import HybridConfig, ModelConfig, model_of, parse_model
from dpjax.config.models import MadeOfParts, PairTableConfig
from dpjax.config.models.modifier import DipoleModel
from dpjax.config.tasks import branch_of, pieces_of, resolved_branches
from dpjax.errors import ConfigError, DPError, ModelError
from dpjax.export import SUFFIX, read_artifact
from dpjax.formats import write_model_tree
from dpjax.interfaces import foreign
from dpjax.interfaces.dipole_charge import check_dipole_model
from dpjax.interfaces.frozen import FROZEN, thawed
from dpjax.interfaces.potential import Potential
from dpjax.interop import check_written, read_weights, unread, write_model
from dpjax.models import build_model, init_variables, with_tables
from dpjax.models.adapters import without_adapters
from dpjax.models.derived import require_no_modifier
from dpjax.models.linear import part_name
from dpjax.nn.precision import dtype_of
from dpjax.nn.table import COLLECTION, PLACES
from dpjax.training.modifier import META, restored
from dpjax.training.tasks import arranged

PARTS = ("descriptor", "fitting_net", "type_embedding")  # of a model section that have a precision
log = logging.getLogger(__name__)


def build(model_section: dict, seed: int = 0) -> Potential:
    """A fresh potential from the ``model`` section of an input.

    Args:
        model_section: as in a DeePMD-kit input; ``sel`` must be numbers.
        seed: of the initial parameters, unless the descriptor and fitting sections give their own.

    Raises:
        ConfigError: the section is not valid.
        ModelError: the file of a frozen model cannot be read.
        DataError: that of a pair table cannot.
    """
    if isinstance(model_section, dict) and model_section.get("type") == FROZEN:
        return _frozen(model_section)
    model_section, constants = thawed(model_section, read_constant)
    config = with_dipole_model(parse_model(model_section))
    with jax.enable_x64(True):
        variables = jax.tree.map(np.asarray, with_tables(config, init_variables(build_model(config), seed)))
    return Potential(*without_adapters(config, _with_parts(config, variables, constants)), conventions="corrected")


def _frozen(section: dict) -> Potential:
    """The model of the file that a section names."""
    config = parse_model({"type_map": ["X"], **section})
    found = load(config.model_file)
    if section.get("type_map") and list(section["type_map"]) != found.type_map:
        raise ConfigError(
            f"model/type_map: found {list(section['type_map'])}, but the types of {config.model_file} are {found.type_map}. Remove "
            "the key."
        )
    return found


def read_constant(path: str) -> tuple[Any, dict, str]:
    """Configuration, variables and conventions of a model that stays as it is in its file."""
    return _read(foreign.newest_of_deepmd_kit(Path(path)))


def _with_parts(config: Any, variables: dict, constants: dict[str | int, dict]) -> dict:
    """Variables of a sum with those of some parts, by name, in the places of fresh ones."""
    numbers = {name: i for i, (name, _) in enumerate(getattr(config, "named", ()))}
    for name, own in constants.items():
        place = part_name(numbers[name])
        variables = {key: tree | ({place: own[key]} if own[key] else {}) for key, tree in variables.items()}
    return variables


def load(
    path: str | os.PathLike,
    *,
    device: jax.Device | None = None,
    dtype: str | None = None,
    head: str | None = None,
    member: int | None = None,
    conventions: str | None = None,
) -> Potential:
    """A potential from a file.

    Args:
        path: DeePMD-kit model (``.dp``, ``.yaml``) or checkpoint (``.pt``, ``.pth``, ``.jax``), artifact (``.dpx``: its model and
            weights, not its programs), a checkpoint folder, or the folder of a training, also one of DeePMD-kit's (its newest
            checkpoint).
        device: where to evaluate; None: JAX's default device.
        dtype: evaluate all networks in this precision (``float32``, ``float64``, ...) instead of the model's own.
        head: branch of a multi-task model.
        member: which model of an ensemble, from 0; it may also stand behind the path, as in ``run#2``.
        conventions: ``"reference"`` or ``"corrected"``; default: as stored, else ``"reference"`` for DeePMD-kit's files.

    Raises:
        ModelError: the file is missing, damaged, or holds a model this version does not have.
    """
    path, member = _with_member(foreign.newest_of_deepmd_kit(Path(path)), member)
    config, variables, stored = _read(path, member, head)
    if dtype is not None:
        config, variables = in_precision(config, variables, dtype)
    return Potential(config, variables, conventions=conventions or stored, device=device)


def load_all(path: str | os.PathLike, *, head: str | None = None) -> list[Potential]:
    """The model of a file, or all members of an ensemble, which share their compiled programs.

    Args:
        path: as for :func:`load`; ``run#2`` is one member.
        head: branch of a multi-task model.

    Raises:
        ModelError: as :func:`load`.
    """
    given, path = path, foreign.newest_of_deepmd_kit(Path(path))
    if not foreign.is_own_folder(path):
        return [load(given, head=head)]
    return models_of(*stored(path), head, path)


def models_of(arrays: dict, meta: dict, head: str | None, path: Path) -> list[Potential]:
    """:func:`load_all` of a checkpoint that was read."""
    number = meta["config"].get("dpjax", {}).get("ensemble", 1)
    found = [chosen_model(arrays, meta, i if number > 1 else None, head, path) for i in range(number)]
    config, variables, conventions = found[0]
    first = Potential(config, variables, conventions=conventions)
    return [first, *(first.with_variables(own) for _, own, _ in found[1:])]


def from_weights(
    model_section: dict, weights: Mapping[str, np.ndarray], source: str | None = None, *, conventions: str = "reference"
) -> Potential:
    """A potential from the ``model`` section of an input and weights under DeePMD-kit's names.

    Args:
        model_section: as in a DeePMD-kit input; ``sel`` must be numbers.  Adapters (``lora``) go into the weights.
        weights: every weight and statistic under its name, as in ``state_dict`` of a PyTorch model, the state of a JAX model
            (parts of a name joined by ".") or the variables of a TensorFlow graph; they are brought into the section's precision.
        source: whose names they are: ``"pytorch"``, ``"jax"`` or ``"tensorflow"``; None: seen from the names.
        conventions: ``"reference"`` or ``"corrected"``.  TensorFlow rounds cut-offs to single precision, so "reference" does.

    Raises:
        ConfigError: the section is not valid, or describes a model that is not built yet.
        ModelError: a name is missing or left over, or an array has another shape; the message lists them.
    """
    config, variables = read_weights(model_section, weights, source, conventions)
    return Potential(with_dipole_model(config), variables, conventions=conventions)


def with_dipole_model(config: ModelConfig) -> ModelConfig:
    """A configuration with the dipole model that its modifier names, read from its file unless it has one.

    Raises:
        ConfigError: the file cannot be read, or holds no model that fits.
    """
    modifier = config.modifier
    if modifier is None or modifier.dipole is not None:
        return config
    try:
        dipole = load(modifier.model_name)
        refuse_compressed(dipole.config, modifier.model_name)
    except DPError as error:
        raise ConfigError(f"model/modifier/model_name: the dipole model cannot be read: {error}") from error
    check_dipole_model(modifier, dipole.config, config.type_map)
    bound = DipoleModel(dipole.config, dipole.variables)
    return dataclasses.replace(config, modifier=dataclasses.replace(modifier, dipole=bound))


def _with_member(path: Path, member: int | None) -> tuple[Path, int | None]:
    """The path, and the member that is named behind it."""
    name, sign, number = path.name.rpartition("#")
    if member is None and sign and number.isdigit() and not path.exists():
        return path.with_name(name), int(number)
    return path, member


def _read(path: Path, member: int | None = None, head: str | None = None) -> tuple[ModelConfig, dict, str]:
    if foreign.is_own_folder(path):
        return read_checkpoint(path, member, head)
    if member is not None and path.exists():
        raise ModelError(f"member {member}: {path} holds a single model, not an ensemble; leave member out")
    if path.suffix in foreign.READ_SUFFIXES:
        return *foreign.read(path, head), "reference"
    if head is not None and path.exists():
        raise ModelError(f"head {head!r}: {path} holds a single model without branches; leave head out")
    if path.suffix == SUFFIX:
        return read_artifact(path)
    if not path.exists():
        raise ModelError(f"{path}: no such file or folder")
    foreign.refuse_to_read(path)
    known = ", ".join((*foreign.READ_SUFFIXES, SUFFIX))
    raise ModelError(
        f"{path}: not a model this version reads; expected a file ending in {known} or a checkpoint folder"
    )


def read_checkpoint(path: Path, member: int | None = None, head: str | None = None) -> tuple[ModelConfig, dict, str]:
    """Model configuration, variables and conventions of a checkpoint, or of the newest one in a training's output folder.

    Args:
        member: which model, where it is an ensemble.
        head: which model, or an alias of it, where it is a training of several tasks.

    Raises:
        ModelError: there is no checkpoint, it is damaged, or has no such member or head.
    """
    return chosen_model(*stored(path), member, head, path)


def stored(path: Path) -> tuple[dict, dict]:
    """Arrays and description of a checkpoint, or of the newest one in a training's output folder.

    Raises:
        ModelError: there is no checkpoint, or it is damaged.
    """
    return load_checkpoint(path) if is_checkpoint(path) else newest_checkpoint(path)


def chosen_model(
    arrays: dict, meta: dict, member: int | None, head: str | None, path: Path
) -> tuple[ModelConfig, dict, str]:
    """One model of a checkpoint that was read, its adapters in the weights; arguments and errors as for :func:`read_checkpoint`."""
    raw = meta["config"]
    if "model_dict" in raw["model"]:
        config, variables = _branch(arrays, meta, head, path)
    elif head is not None:
        raise ModelError(f"head {head!r}: {path} holds a single model without branches; leave head out")
    else:
        config, stats = restored(model_of(raw), arrays["stats"], meta.get(META))
        variables = {"params": arrays["params"], "stats": stats}
    members = raw.get("dpjax", {}).get("ensemble", 1)
    if members > 1:
        variables["params"] = _member(variables["params"], member, members, path)
    elif member is not None:
        raise ModelError(f"member {member}: {path} holds a single model, not an ensemble; leave member out")
    return *without_adapters(config, variables), meta["conventions"]


def _branch(arrays: dict, meta: dict, head: str | None, path: Path) -> tuple[ModelConfig, dict]:
    """One model of a training of several tasks, or the ensemble of one."""
    raw = meta["config"]
    branches, name = raw["model"]["model_dict"], None if head is None else branch_of(raw, head)
    if name is None:
        asked = "none was chosen" if head is None else f"{head!r} is not among them"
        raise ModelError(
            f"{path} holds several models and {asked}. Name one with head: {', '.join(branches)}, as in dpjax.load(..., "
            f"head={next(iter(branches))!r})."
        )
    params = arranged(arrays["params"], pieces_of(name, branches[name]))
    described = (meta.get(META) or {}).get(name)
    config, stats = restored(parse_model(resolved_branches(raw)[name]), arrays["stats"][name], described)
    return config, {"params": params, "stats": stats}


def _member(params: dict, member: int | None, members: int, path: Path) -> dict:
    if member is None or not 0 <= member < members:
        asked = "none was chosen" if member is None else f"{member} was asked for"
        raise ModelError(
            f"{path} holds an ensemble of {members} models and {asked}. Name one, 0 to {members - 1}: {path}#0, or "
            "dpjax.load(..., member=0)."
        )
    return jax.tree.map(lambda leaf: leaf[member], params)


def branches(path: str | os.PathLike, *, aliases: bool = True) -> tuple[str, ...]:
    """Names of the models of a training of several tasks and their aliases, the names first; none for a single model.

    Raises:
        ModelError: the checkpoint is damaged.
    """
    path = foreign.newest_of_deepmd_kit(Path(path))
    if not foreign.is_own_folder(path):
        named = foreign.branches(path)
        return (*named, *(alias for others in named.values() for alias in others if aliases))
    _, meta = stored(path)
    found = meta["config"]["model"].get("model_dict", {})
    others = [alias for branch in found.values() for alias in branch.get("model_branch_alias") or ()]
    return (*found, *(others if aliases else ()))


def newest_checkpoint(path: Path) -> tuple[dict, dict]:
    """Arrays and description of the newest intact checkpoint in a folder, whatever its prefix.

    Raises:
        ModelError: the folder has no file ``checkpoint`` or no checkpoint.
    """
    folder = _checkpoint_folder(path)
    pointer = folder / POINTER
    if not pointer.is_file():
        raise ModelError(
            f"{path}: found no file {POINTER!r} that names the newest checkpoint, so this is no training output. Give a "
            "checkpoint folder (model.ckpt-<step>), the output folder of a training, or a .dp or .yaml file."
        )
    prefix = pointer.read_text().strip().rpartition("-")[0]
    return CheckpointStore(folder, prefix, keep=0).restore()


def _checkpoint_folder(output: Path) -> Path:
    """Where a training with this output folder has its checkpoints; ``out.json`` says so where it is another one."""
    if (output / POINTER).is_file():
        return output
    try:
        training = json.loads((output / "out.json").read_text())["training"]
        return output / (training.get("save_dir") or Path(training["save_ckpt"]).parent)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return output


def in_precision(config: ModelConfig, variables: dict, precision: str) -> tuple[ModelConfig, dict]:
    """The same model with all its networks in another precision; biases stay float64.

    Raises:
        ModelError: it is quantised, and the precision is another than float64.
    """
    dtype = dtype_of(precision)
    if isinstance(config, PairTableConfig):
        return config, variables
    if isinstance(config, MadeOfParts):
        return _sum_in_precision(config, variables, precision)
    if config.nvnmd is not None and config.nvnmd.quantizes and dtype != np.float64:
        raise ModelError(f"dtype {precision}: numbers of a model that is quantised for NVNMD are float64; leave it out")
    changed = dataclasses.replace(
        config,
        descriptor=_parts_in_precision(config.descriptor, precision),
        fitting_net=_parts_in_precision(config.fitting_net, precision),
        type_embedding=config.type_embedding and _parts_in_precision(config.type_embedding, precision),
        raw={
            **config.raw,
            **{
                part: _raw_in_precision(config.raw[part], getattr(config, part), precision)
                for part in PARTS
                if part in config.raw
            },
        },
    )
    params = jax.tree.map(lambda x: np.asarray(x).astype(dtype), variables["params"])
    stats = variables["stats"]
    descriptor = _statistics_in(dtype, stats["descriptor"], config.descriptor)
    tables = {name: _tables_in(dtype, tree) for name, tree in variables.items() if name == COLLECTION}
    return changed, {"params": params, "stats": {**stats, "descriptor": descriptor}, **tables}


def _sum_in_precision(config: MadeOfParts, variables: dict, precision: str) -> tuple[MadeOfParts, dict]:
    """:func:`in_precision` of all parts, and of the type vectors that these have in common."""
    models = {}
    params, stats = dict(variables["params"]), dict(variables["stats"])
    for i, (name, part) in enumerate(config.named):
        key = part_name(i)
        models[name], own = in_precision(part, {"params": params.get(key, {}), "stats": stats[key]}, precision)
        stats[key] = own["stats"]
        params |= {key: own["params"]} if key in params else {}
    changed, vectors = config.with_parts(models), config.type_embedding
    if vectors is not None:
        changed = dataclasses.replace(
            changed,
            type_embedding=_parts_in_precision(vectors, precision),
            raw=changed.raw | {"type_embedding": changed.raw["type_embedding"] | {"precision": precision}},
        )
        params["type_embedding"] = jax.tree.map(
            lambda x: np.asarray(x).astype(dtype_of(precision)), params["type_embedding"]
        )
    return changed, {"params": params, "stats": stats}


def _tables_in(dtype: Any, tree: dict) -> dict:
    """Tables in another precision; where their nodes are does not change."""
    return {
        name: _tables_in(dtype, part) if isinstance(part, dict) else part if name in PLACES else part.astype(dtype)
        for name, part in tree.items()
    }


def _parts_in_precision(config: Any, precision: str) -> Any:
    if isinstance(config, HybridConfig):
        return HybridConfig(tuple(_parts_in_precision(member, precision) for member in config.list))
    return dataclasses.replace(config, precision=precision) if _has_networks(config) else config


def _has_networks(config: Any) -> bool:
    """Whether a part has an option for the precision of its networks."""
    return any(field.name == "precision" for field in dataclasses.fields(config))


def _statistics_in(dtype: Any, stats: dict, config: Any) -> dict:
    """Those of a descriptor, in the precision of its networks."""
    if isinstance(config, HybridConfig):
        own = {f"members_{i}": member for i, member in enumerate(config.list)}
        return {name: _statistics_in(dtype, tree, own[name]) for name, tree in stats.items()}
    return jax.tree.map(lambda x: np.asarray(x).astype(dtype), stats) if _has_networks(config) else stats


def _raw_in_precision(section: dict, config: Any, precision: str) -> dict:
    if isinstance(config, HybridConfig):
        pairs = zip(section["list"], config.list, strict=True)
        return {**section, "list": [_raw_in_precision(part, own, precision) for part, own in pairs]}
    return {**section, "precision": precision} if _has_networks(config) else section


def save(potential: Potential, path: str | os.PathLike) -> None:
    """Write a model file that DeePMD-kit reads (``.dp`` or ``.yaml``).

    Raises:
        ModelError: the name ends in something else, or DeePMD-kit would give other numbers for this model.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    foreign.refuse_to_write(path)
    check_written(potential.config, potential.variables["stats"])
    require_no_modifier(potential.config, "files for DeePMD-kit")
    if note := unread(potential.config):
        log.warning("%s: %s", path, note)
    tree = write_model(potential.config, jax.device_get(potential.variables))
    write_model_tree(path, tree)
