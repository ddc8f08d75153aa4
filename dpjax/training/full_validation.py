"""Errors of an energy model on all frames of the validation data: sums on the devices, means on the host, rows of ``val.log``.

Energy and virial are divided by the atoms of their frame, forces are taken component by component; virials count where a frame is
periodic and has the label.  Every value counts once, so that means are the same however the frames are batched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.config.validating import ValidatingConfig
from dpjax.errors import DataError, OutputError
from dpjax.losses.inputs import Arrays
from dpjax.losses.means import error_of, weighted_sum

LABELS = {"E": "energy", "F": "force", "V": "virial"}
UNITS = {"E": "meV/atom", "F": "meV/Å", "V": "meV/atom"}
COLUMNS = tuple(f"{quantity}:{measure}" for quantity in LABELS for measure in ("MAE", "RMSE"))
LEGEND = "# E and V are divided by the number of atoms, F is taken by component; nan: no such label\n"
MILLI = 1e3

Metrics = Mapping[str, float]  # "E:MAE" -> eV, eV/angstrom


@dataclass(frozen=True)
class Calendar:
    """At which numbers of steps a run is validated: at ``start`` and every ``every`` steps after it, but not at 0."""

    start: int | None  # None: never
    every: int

    def due(self, step: int) -> bool:
        return self.start is not None and step >= max(self.start, 1) and (step - self.start) % self.every == 0


def calendar(cfg: ValidatingConfig, num_steps: int) -> Calendar:
    """When a run of so many steps is validated: ``full_val_start`` is a fraction of it below 1, a step above, and never at 1."""
    if not cfg.active or cfg.full_val_start == 1:
        return Calendar(None, cfg.validation_freq)
    start = int(cfg.full_val_start * num_steps) if cfg.full_val_start < 1 else int(cfg.full_val_start)
    return Calendar(start if start <= num_steps else None, cfg.validation_freq)


def error_sums(
    prediction: Arrays, label: Arrays, natoms: jax.Array, atom_weight: jax.Array, frame_weight: jax.Array
) -> dict[str, jax.Array]:
    """Sums over a batch: quantity -> (3,) of absolute errors, squared errors, and the number of values.

    Args:
        prediction, label: energy (n_frame, 1), force (n_atom, 3), virial (n_frame, 9); what is not in ``label`` is left out.
        natoms: (n_frame,); atom_weight (n_atom,) and frame_weight (n_frame,) are 0 on padding.
    """
    size = jnp.maximum(natoms, 1).astype(float)[:, None]
    of = {"E": (frame_weight, size), "F": (atom_weight, jnp.ones((1, 1))), "V": (frame_weight, size)}
    sums = {}
    for quantity, name in LABELS.items():
        if name in label:
            weight = of[quantity][0][:, None]
            error = error_of(prediction[name], label[name], weight) / of[quantity][1]
            number = jnp.sum(jnp.broadcast_to(weight, error.shape))
            sums[quantity] = jnp.stack([weighted_sum(jnp.abs(error), weight), weighted_sum(error**2, weight), number])
    return sums


def means(sums: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The six metrics of summed :func:`error_sums`; NaN where nothing was compared."""
    metrics = dict.fromkeys(COLUMNS, math.nan)
    for quantity, (absolute, square, number) in sums.items():
        if number > 0:
            metrics[f"{quantity}:MAE"], metrics[f"{quantity}:RMSE"] = absolute / number, math.sqrt(square / number)
    return metrics


def measured(
    batches: Iterable[tuple[Any, Collection[str]]], sums_of: Callable[[Any], Mapping[str, Any]]
) -> dict[str, float]:
    """Metrics over batches.

    Args:
        batches: each with the quantities that its data have labels of.
        sums_of: :func:`error_sums` of a batch.
    """
    total: dict[str, np.ndarray] = {}
    for data, labelled in batches:
        for quantity, values in sums_of(data).items():
            if quantity in labelled:
                total[quantity] = total.get(quantity, 0.0) + np.asarray(values, np.float64)
    return means(total)


def chosen(metrics: Metrics, name: str) -> float:
    """The metric that decides which checkpoints are the best.

    Raises:
        DataError: no frame of the validation data has its label.
    """
    value = metrics[name]
    if math.isnan(value):
        raise DataError(
            f"validating/validation_metric: found {name}, but no system in training/validation_data has a label "
            f"{LABELS[name[0]]} to compare with. Choose another metric or complete the data."
        )
    return value


class ValidationLog:
    """The file ``val.log``: a row of the six metrics for each full validation, in meV; columns as DeePMD-kit writes them.

    Args:
        path: the file.
        num_steps: of the run, for the width of the first column.
        restart_step: None starts a new file; a step continues the one that is there, without what belongs to later steps.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path, num_steps: int, restart_step: int | None = None) -> None:
        self.path, self._width = path, max(len("step"), len(str(num_steps)))
        kept = "" if restart_step is None or not path.exists() else _until(path.read_text("utf-8"), restart_step)
        self._write(kept or self._header(), "w")

    def report(self, step: int, metrics: Metrics, best: Path | None, metric: str) -> None:
        """Adds a row and, where a best checkpoint was saved for its ``metric``, a remark that names it."""
        cells = [f"{_digits(metrics[name]):^{_cell(name)}s}" for name in COLUMNS]
        text = "   ".join([f"  {step:^{self._width}d}", *cells]) + "\n"
        if best is not None:
            value = f"{_digits(metrics[metric])} {UNITS[metric[0]]}"
            text += f"# saved best checkpoint: {best.name} ({metric} = {value})\n"
        self._write(text, "a")

    def _header(self) -> str:
        cells = [f"{_title(name):^{_cell(name)}s}" for name in COLUMNS]
        return "   ".join([f"# {'step':^{self._width}s}", *cells]) + "\n" + LEGEND

    def _write(self, text: str, mode: str) -> None:
        try:
            with self.path.open(mode, encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise OutputError(
                f"{self.path}: could not write the results of the full validation ({error.strerror or error}). Free disk space, "
                "or choose another file with validating/full_val_file."
            ) from error


def _title(name: str) -> str:
    return f"{name.replace(':', '_')}({UNITS[name[0]]})"


def _cell(name: str) -> int:
    return max(len(_title(name)), 18)


def _digits(value: float) -> str:
    """Five significant digits, in thousandths."""
    return "nan" if math.isnan(value) else f"{MILLI * value:#.5g}"


def _until(text: str, step: int) -> str:
    """The lines up to the first row of a later step."""

    def early(line: str) -> bool:
        first = line.split()[:1]
        return line.endswith("\n") and not (first and first[0].isdigit() and int(first[0]) > step)

    return "".join(takewhile(early, text.splitlines(keepends=True)))
