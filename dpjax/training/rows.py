"""Rows of the learning curve: which steps have one, and how metrics of several batches become one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

Row = dict[str, float]


def rows_before(steps: int, frequency: int) -> int:
    """Rows of the learning curve in the first ``steps`` of a longer run: the first step and every ``frequency``-th."""
    return steps // frequency + (frequency > 1 and steps > 0)


def rows_of(steps: int, frequency: int) -> int:
    """Rows of the learning curve of a run of so many steps, which shows its last step in any case."""
    return rows_before(steps - 1, frequency) + 1 if steps > 0 else 0


def mean_found(name: str, values: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """Mean of a metric over batches, with weights if given; those whose data lack the label have NaN there and do not count.

    A NaN of the loss itself is no missing label and stays.
    """
    pairs = zip(values, weights or [1.0] * len(values), strict=True)
    found = [(v, w) for v, w in pairs if name == "loss" or not math.isnan(v)]
    total = sum(w for _, w in found)
    return sum(v * w for v, w in found) / total if total else math.nan


def printed(metrics: Row) -> Row:
    """Metrics that belong into the learning curve."""
    return {k: v for k, v in metrics.items() if k != "loss" and not k.startswith("l2_")}


def of_task(row: Row, task: str) -> Row:
    """The row with the task named behind each metric, as in ``rmse_e@water``; as it is for the only one, ""."""
    return {f"{name}@{task}": value for name, value in row.items()} if task else row


def column(name: str, ending: str) -> str:
    """The column of a metric: ``rmse_e_trn``, or of a task ``rmse_e_trn_water``."""
    metric, _, task = name.partition("@")
    return f"{metric}_{ending}_{task}" if task else f"{metric}_{ending}"


def in_order(names: Iterable[str]) -> list[str]:
    """Metrics in the order of their columns: by task, then by name."""
    return sorted(names, key=lambda name: name.partition("@")[::-1])
