"""Shifting the bias per type to data: what a model leaves of the labels, fitted to the numbers of atoms of each type."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from dpjax.config import ModelConfig
from dpjax.data.fragments import qm_atoms
from dpjax.errors import ConfigError
from dpjax.training.devices import device_count, place_batch
from dpjax.training.hosts import fetched
from dpjax.training.preparation import fitted, output_preset, output_scale
from dpjax.training.samples import sampled_frames
from dpjax.training.sides import DataSide
from dpjax.training.step import LabelledBatch


def shifted_bias(
    config: ModelConfig,
    bias: np.ndarray,
    batches: Iterable[LabelledBatch],
    predict: Callable[[LabelledBatch], jax.Array],
) -> np.ndarray:
    """The bias (n_type, size) with which a model fits the totals of some frames best.

    Types whose bias is preset keep it.

    Args:
        bias: of the model now.
        batches: labelled with what the model predicts.
        predict: the model's totals of a batch, (n_frame, ...), all devices joined.

    Raises:
        ConfigError: the model's output has no bias, or the frames have no such label.
    """
    output = config.fitting_net.output
    if not output.biased:
        raise ConfigError(
            f"the bias cannot be changed: a {output.label} turns with its frame and has none. Set "
            "training/change_bias_after_training to false."
        )
    rows = [_residuals(data, predict(data), output.label, config) for data in batches]
    if not rows:
        raise ConfigError(f"the bias cannot be changed: no system of the data has the label {output.label}.")
    return bias_by_error(config, bias, *(np.concatenate(parts) for parts in zip(*rows, strict=True)))


def bias_by_error(config: ModelConfig, bias: np.ndarray, counts: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """The bias (n_type, size) of a model plus a fit of what it leaves of the labels.

    Types whose bias is preset keep it.

    Args:
        counts: (n_frame, n_type) atoms of each type.
        residuals: (n_frame, size) label minus prediction.
    """
    preset = output_preset(config)
    kept = None if preset is None else [None if value is None else 0.0 for value in preset]
    shift, _ = fitted(config, counts, residuals, kept)
    return np.asarray(bias) + shift / output_scale(config)


def drawn_batches(side: DataSide, n_batch: int, seed: int, label: str, mesh: Any) -> Iterator[LabelledBatch]:
    """The frames that statistics of the data are made of, of systems with the label, in batches of one system each."""
    for system, frames in sampled_frames(side.sampler, side.systems, n_batch, seed):
        if side.systems[system].found[label]:
            for data in side.batches(system, frames, device_count(mesh)):
                yield place_batch(data, mesh)


def _residuals(data: LabelledBatch, total: jax.Array, label: str, config: ModelConfig) -> tuple[np.ndarray, np.ndarray]:
    """(n, n_type) atoms of each type that have a bias and (n, size) label minus prediction of the real frames of a batch."""
    batch = data.batch
    arrays = [batch.natoms, batch.atype, batch.frame, batch.is_atom, data.label[label]]
    natoms, atype, frame, is_atom, theirs = fetched(arrays)
    if atype.ndim == 2:  # devices: each counts its own frames
        frame = frame + natoms.shape[1] * np.arange(len(frame))[:, None]
    n_frame, real = natoms.size, is_atom.ravel()
    if config.takes_fragments:
        (aparam,) = fetched([batch.aparam])
        real = real & qm_atoms(frame.ravel(), real, aparam.ravel(), n_frame)
    counts = np.zeros((n_frame, len(config.type_map)))
    np.add.at(counts, (frame.ravel()[real], atype.ravel()[real]), 1.0)
    kept = natoms.ravel() > 0
    return counts[kept], (theirs.reshape(n_frame, -1) - np.asarray(total).reshape(n_frame, -1))[kept]
