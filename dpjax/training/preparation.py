"""Statistics of the labels and parameters of the training data for a new model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dpjax.config import ModelConfig
from dpjax.config.fittings import AtomicOutput
from dpjax.data import System
from dpjax.errors import ConfigError, DataError
from dpjax.statistics import (
    atomic_bias,
    common_bias,
    energy_bias,
    parameter_normalisation,
    prefer_atomic,
)
from dpjax.training import fragments
from dpjax.training.samples import labelled_frames

Stats = dict[str, Any]


def output_statistics(config: ModelConfig, systems: Sequence[System]) -> Stats:
    """``out_bias`` and ``out_std`` (n_type, size) of what the model predicts, from the labels of all frames (``labelled_frames``).

    Values of the atoms, where systems have such labels, come before those of the frames. Systems without labels take no part; with
    no label at all the bias is what is preset, else zero.  A dipole has none: it would not turn with the frame.
    """
    if config.takes_fragments:
        return fragments.output_statistics(config, systems, output_preset(config))
    output, n_type = config.fitting_net.output, len(config.type_map)
    shape = (n_type, output.size)
    bias, spread = np.full((2, *shape), np.nan)
    preset = output_preset(config)
    if output.biased:
        of_frames = _joined(
            _frame_labels(config, system, frames, output) for system, frames in labelled_frames(systems, output.label)
        )
        of_atoms = _joined(
            _atom_labels(config, system, frames, output)
            for system, frames in labelled_frames(systems, output.atom_label)
        )
        if of_frames is not None:
            bias, spread = fitted(config, *of_frames, preset)
        if of_atoms is not None:
            bias, spread = prefer_atomic((bias, spread), atomic_bias(*of_atoms, n_type))
    for t, given in enumerate(preset or ()):
        bias[t] = np.where(np.isnan(bias[t]) & (given is not None), given, bias[t])
    return {
        "out_bias": np.nan_to_num(bias, nan=0.0) / output_scale(config),
        "out_std": np.nan_to_num(spread, nan=1.0),
    }


def force_statistics(config: ModelConfig, systems: Sequence[System]) -> Stats:
    """``dens_force_rmsd`` (), eV/angstrom, the spread of the forces of a model that gives them directly; nothing of others.

    It is the root of the mean square of the lengths of the forces of all atoms that count (``labelled_frames``).

    Raises:
        DataError: no forces, or none that are not zero.
    """
    if not config.direct_forces:
        return {}
    total = count = 0.0
    for system, frames in labelled_frames(systems, "force"):
        types = system.frames_types(frames)
        counted = (types >= 0) & ~np.isin(types, config.silent_types)
        total += float(np.sum(system.arrays(frames, ["force"])["force"][counted] ** 2))
        count += np.count_nonzero(counted)
    if total == 0.0:
        found = "no system has forces" if count == 0 else "all forces are zero"
        raise DataError(
            f"training/training_data: {found}, but the loss dens measures forces by their spread over the data. Give systems with "
            "force.npy, or use the loss ener."
        )
    return {"dens_force_rmsd": np.array(np.sqrt(total / count))}


def output_scale(config: ModelConfig) -> np.ndarray:
    """What a polarizability is multiplied by, its bias included, (n_type, 1); ones for other quantities."""
    return np.broadcast_to(getattr(config.fitting_net, "scale", 1.0), len(config.type_map))[:, None]


def fitted(
    config: ModelConfig, counts: np.ndarray, labels: np.ndarray, preset: list | None
) -> tuple[np.ndarray, np.ndarray]:
    """Bias and spread of frames with so many atoms of each type: per type, or the same for all."""
    fitting = config.fitting_net
    if not getattr(fitting, "distinguish_types", True):
        return common_bias(counts, labels, exclude=config.silent_types, intensive=fitting.output.intensive)
    return energy_bias(
        counts,
        labels,
        preset=preset,
        exclude=config.silent_types,
        rcond=getattr(fitting, "rcond", None),
        intensive=fitting.output.intensive,
    )


def _joined(parts: Iterator[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray] | None:
    """Pairs of arrays of all systems, joined; None without a system."""
    pairs = list(zip(*parts, strict=True))
    return tuple(map(np.concatenate, pairs)) if pairs else None


def _frame_labels(
    config: ModelConfig, system: System, frames: np.ndarray, output: AtomicOutput
) -> tuple[np.ndarray, np.ndarray]:
    """(f, n_type) atoms of each type, (f, size) labels."""
    labels = system.arrays(frames, [output.label])[output.label]
    return type_counts(system, len(config.type_map), frames), labels


def _atom_labels(
    config: ModelConfig, system: System, frames: np.ndarray, output: AtomicOutput
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) types, (n, size) labels of the atoms of frames that count."""
    labels = system.arrays(frames, [output.atom_label])[output.atom_label]
    types = system.frames_types(frames)
    counted = (types >= 0) & ~np.isin(types, config.silent_types)
    return types[counted], labels[counted]


def type_counts(system: System, n_type: int, frames: np.ndarray) -> np.ndarray:
    """(n_frame, n_type) atoms of each type in some frames."""
    if not system.mixed:
        row = np.bincount(system.frame_types(0), minlength=n_type)
        return np.repeat(row[None], len(frames), axis=0)
    return np.stack([np.bincount(t[t >= 0], minlength=n_type) for t in system.frames_types(frames)])


def output_preset(config: ModelConfig) -> list[Any] | None:
    """Values per type, numbers or lists of ``output.size``, that are given and not fitted; None leaves one to the data.

    They are ``atom_ener`` of the fitting net, else the model's preset.

    Raises:
        ConfigError: a preset that has no place in the model.
    """
    fitting = config.fitting_net
    given = getattr(fitting, "atom_ener", ())
    if any(e is not None for e in given):
        return list(given)
    preset = (config.preset_out_bias or {}).get(fitting.output.name)
    if preset is None:
        return None
    if not fitting.output.biased:
        raise ConfigError(
            "model/preset_out_bias: a dipole has no bias, which would not turn with the frame. Remove the key."
        )
    if not getattr(fitting, "distinguish_types", True):
        raise ConfigError(
            "model/preset_out_bias: with fitting_net/distinguish_types false all types have the bias of the data. Remove one of "
            "the two."
        )
    return [None if p is None else np.ravel(p).astype(float) for p in preset]


def parameter_statistics(
    config: ModelConfig, systems: Sequence[System], drawn: Sequence[tuple[int, np.ndarray]]
) -> Stats:
    """Normalisation of frame and atomic parameters over the drawn frames."""
    fitting = config.fitting_net
    stats: Stats = {}
    for name, size in (("fparam", fitting.numb_fparam), ("aparam", fitting.numb_aparam)):
        if size:
            rows = [_parameters(systems[s], frames, name, size) for s, frames in drawn]
            mean, inverse = parameter_normalisation(np.concatenate(rows), config.data_stat_protect)
            stats |= {f"{name}_avg": mean, f"{name}_inv_std": inverse}
    return stats


def _parameters(system: System, frames: np.ndarray, name: str, size: int) -> np.ndarray:
    """(row, size) parameters of frames, or of their atoms without the placeholders of mixed systems."""
    values = system.arrays(frames, [name])[name]
    if name == "aparam" and system.mixed:
        return values[system.frames_types(frames) >= 0]
    return values.reshape(-1, size)
