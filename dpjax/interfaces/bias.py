"""Changing the bias per type of a finished model: to data, or to numbers that are given."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dpjax.checkpoints import folder
from dpjax.config.tasks import branch_of
from dpjax.data import System, find_systems, model_labels, open_systems
from dpjax.data.fragments import qm_types
from dpjax.errors import ConfigError, DataError, ModelError, OutputError
from dpjax.formats.dp import HDF5_SUFFIXES, YAML_SUFFIXES
from dpjax.interfaces.files import load, models_of, save, stored
from dpjax.interfaces.foreign import is_own_folder
from dpjax.interfaces.potential import Potential
from dpjax.interop.checkpoint_files import CHECKPOINT_SUFFIXES
from dpjax.models.derived import require_no_modifier
from dpjax.training.bias import bias_by_error
from dpjax.training.modifier import with_dipole_model
from dpjax.training.preparation import output_statistics

log = logging.getLogger(__name__)

ATOMS_PER_CHUNK = 20_000  # frames are read and evaluated in chunks of about this many atoms
CHANGE, SET = MODES = ("change", "set")
Paths = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class _Stored:
    """A model with all that its file holds.

    Attributes:
        members: the model, or those of an ensemble, which share one bias.
        arrays, meta: of a checkpoint; None for a model file.
        branch: which one it is of a checkpoint of several tasks.
    """

    members: tuple[Potential, ...]
    arrays: dict[str, Any] | None = None
    meta: dict[str, Any] | None = None
    branch: str | None = None

    @property
    def potential(self) -> Potential:
        return self.members[0]

    def write(self, path: Path, stats: dict[str, Any]) -> None:
        """The same kind of file with other statistics."""
        if self.arrays is None:
            pot = self.potential
            save(Potential(pot.config, {**pot.variables, "stats": stats}, conventions=pot.conventions), path)
            return
        stats = with_dipole_model(stats, self.potential.config)
        if self.branch is not None:
            stats = {**self.arrays["stats"], self.branch: stats}
        _write_checkpoint(path, {**self.arrays, "stats": stats}, self.meta)


def change_bias(
    model: str | Path,
    output: str | Path,
    systems: Paths = ".",
    *,
    mode: str = CHANGE,
    values: Sequence[float] | None = None,
    n_frames: int = 0,
    head: str | None = None,
) -> np.ndarray:
    """Write a model with another bias per type.

    Args:
        model: ``.dp`` or ``.yaml`` file, checkpoint folder, or the output folder of a training.
        output: file or new folder of the same kind; a checkpoint can be continued.
        systems: data, or folders that hold some.
        mode: ``change`` adds to the bias a fit of what the model leaves of the labels; ``set`` replaces bias and spread by the
            statistics of the labels alone.
        values: the bias of each type in eV, in the order of ``type_map``; no data are read then.
        n_frames: how many frames of each system, the first ones; 0 takes all.
        head: branch of a training of several tasks, by its name or an alias; the others stay as they are.

    Returns:
        The new bias (n_type, size of the output of an atom).

    Raises:
        ModelError: the model cannot be read, or is no energy and ``values`` were given.
        ConfigError: the model has no bias, or ``values`` are not one for each type.
        DataError: there are no data with the label.
        OutputError: ``output`` is there already, or cannot be written.
    """
    source, target = Path(model), Path(output)
    _check_target(source, target)
    stored = _read(source, head)
    pot = stored.potential
    before = np.asarray(pot.variables["stats"]["out_bias"])
    if values is not None:
        found = {"out_bias": _given(pot, values)}
    else:
        found = _from_data(stored.members, _labelled(pot, systems, n_frames), mode)
    stored.write(target, pot.variables["stats"] | found)
    bias = found["out_bias"]
    log.info("the bias per type is now %s, was %s", bias.tolist(), before.tolist())
    return bias


def _check_target(source: Path, target: Path) -> None:
    """What is written is of the kind that is read, and nothing is overwritten.

    Raises:
        ModelError: another kind, or one that cannot be changed.
        OutputError: a folder that is there already.
    """
    known = (*HDF5_SUFFIXES, *YAML_SUFFIXES)
    if is_own_folder(source):
        if target.suffix in known:
            raise ModelError(
                f"{target}: {source} holds a checkpoint, and so will what is written; name a folder. `dpjax convert` makes a "
                f"{target.suffix} of it."
            )
        if target.exists():
            raise OutputError(f"{target}: is there already; name a new folder for the checkpoint")
    elif source.exists() and source.suffix not in known:
        raise ModelError(
            f"{source}: the bias can be changed in checkpoints of dpjax and in files that end in {', '.join(known)}. "
            + (
                f"Make one: dpjax convert {source.name} {source.stem}.dp"
                if source.suffix in CHECKPOINT_SUFFIXES
                else "Change it in the model that this file was made of, then `dpjax freeze` that."
            )
        )
    elif target.suffix not in known:
        raise ModelError(f"{target}: {source} is a model file, and so is what is written; end it in {', '.join(known)}")


def _write_checkpoint(path: Path, arrays: dict[str, Any], meta: dict[str, Any]) -> None:
    """Raises OutputError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder.write(path, arrays, meta)
    except Exception as error:  # the storage raises many kinds, a full disk among them
        raise OutputError(f"{path}: the checkpoint could not be written ({type(error).__name__}: {error})") from error


def _read(path: Path, head: str | None) -> _Stored:
    if not is_own_folder(path):
        return _Stored((load(path, head=head),))
    arrays, meta = stored(path)
    raw = meta["config"]
    branch = branch_of(raw, head) if "model_dict" in raw["model"] and head else None
    return _Stored(tuple(models_of(arrays, meta, head, path)), arrays, meta, branch)


def _given(pot: Potential, values: Sequence[float]) -> np.ndarray:
    """The bias that the user gives, (n_type, 1)."""
    output = pot.config.fitting_net.output
    if output.label != "energy":
        raise ModelError(
            f"a bias can be given for energies only, but this model predicts {output.label}; fit it to data"
        )
    if len(values) != len(pot.type_map):
        raise ConfigError(
            f"bias: found {len(values)} values, expected one for each of the {len(pot.type_map)} types ({', '.join(pot.type_map)})"
        )
    virtual = np.zeros(len(pot.config.type_map) - len(values))  # atoms for spins, without energies
    return np.concatenate([np.asarray(values, float), virtual])[:, None]


@dataclass(frozen=True)
class _Beginning(System):
    """The first frames of a system."""

    limit: int = 0

    @property
    def n_frame(self) -> int:
        return min(self.limit, self.reader.n_frame) if self.limit else self.reader.n_frame


def _labelled(pot: Potential, systems: Paths, limit: int) -> list[System]:
    """The systems that have the label, so many frames of each."""
    output = pot.config.fitting_net.output
    if not output.biased:
        raise ConfigError(f"the bias cannot be changed: a {output.label} turns with its frame and has none")
    specs = model_labels(pot.config, (output.label, output.atom_label))
    entries = [systems] if isinstance(systems, (str, Path)) else list(systems)
    paths = [path for entry in entries for path in find_systems(str(entry))]
    found = [system for path in paths for system in open_systems(path, pot.type_map, specs, str(path))]
    labelled = [system for system in found if system.found.get(output.label)]
    if not labelled:
        raise DataError(
            f"the bias cannot be changed: no system of {', '.join(map(str, entries))} has the label {output.label}"
        )
    return [_Beginning(**vars(system), limit=limit) for system in labelled]


def _from_data(members: Sequence[Potential], systems: Sequence[System], mode: str) -> dict[str, np.ndarray]:
    """Statistics of the models that change."""
    pot = members[0]
    if mode == SET:
        require_no_modifier(pot.config, f"a bias from the labels alone (mode {SET})")
        return output_statistics(pot.config, systems)
    if mode != CHANGE:
        raise ConfigError(f"mode: found {mode!r}, expected one of {', '.join(MODES)}")
    rows = [row for system in systems for row in _residuals(members, system)]
    counts, residuals = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    return {"out_bias": bias_by_error(pot.config, pot.variables["stats"]["out_bias"], counts, residuals)}


def _residuals(members: Sequence[Potential], system: System) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(n, n_type) atoms of each type and (n, size) label minus the mean prediction, for some frames at a time."""
    pot = members[0]
    output = pot.config.fitting_net.output
    frames = np.arange(system.n_frame)
    size = max(1, ATOMS_PER_CHUNK // max(system.n_atom, 1))
    for part in (frames[i : i + size] for i in range(0, len(frames), size)):
        arrays = system.arrays(part, ["coord", "box", output.label, *system.inputs])
        cell = arrays["box"].reshape(-1, 3, 3) if system.periodic else None
        types = np.stack([system.frame_types(i) for i in part])
        given = {name: arrays[name] for name in system.inputs}
        each = [member.evaluate(arrays["coord"], types, cell, **given)[output.total] for member in members]
        found = np.mean(each, axis=0)
        residual = arrays[output.label].reshape(len(part), -1) - found.reshape(len(part), -1)
        if pot.config.takes_fragments:  # whose bias is that of QM atoms
            types = np.stack([qm_types(*own) for own in zip(types, given["aparam"], strict=True)])
        counts = np.stack([np.bincount(row[row >= 0], minlength=len(pot.config.type_map)) for row in types])
        yield counts, residual
