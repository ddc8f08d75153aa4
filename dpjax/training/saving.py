"""What a training leaves on disk at its steps: checkpoints, those of the averaged parameters, and the best ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dpjax.checkpoints import BestCheckpoints, CheckpointStore, Record
from dpjax.config.models.dpa4 import LoraConfig
from dpjax.errors import NonFiniteError
from dpjax.models.adapters import merged_params
from dpjax.train_state import TrainState, to_arrays
from dpjax.training.ensemble import Members, together
from dpjax.training.full_validation import Calendar, Metrics, ValidationLog, chosen
from dpjax.training.hosts import fetched

Meta = dict[str, Any]


@dataclass
class Saver:
    """Writes the checkpoints of a run.

    Attributes:
        store: of the whole state.
        averages: of the averaged parameters alone; None for a run that keeps no average.
    """

    store: CheckpointStore
    averages: CheckpointStore | None = None

    def save(self, step: int, state: TrainState, stats: Any, meta: Meta, averaged_stats: Any = None) -> Path:
        """Write the checkpoint of the state after ``step`` updates.

        Args:
            stats: of the model.
            averaged_stats: of the model of the averaged parameters, where they differ.

        Raises:
            NonFiniteError: parameters are not finite; nothing is written.
            OutputError: it cannot be written; earlier checkpoints stay.
        """
        state = together(state)
        arrays = full_arrays(state, stats)
        if not all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(arrays["params"])):
            raise NonFiniteError(
                f"parameters are not finite after step {step}; nothing was saved over the earlier checkpoints. Lower "
                "learning_rate/start_lr or look for a frame with absurd labels, then --restart."
            )
        path = self.store.save(step, arrays, meta)
        if self.averages is not None:
            own = stats if averaged_stats is None else averaged_stats
            self.averages.save(step, averaged_arrays(state, own), meta)
        return path


def full_arrays(state: TrainState | Members, stats: Any) -> dict[str, Any]:
    """All that a restart needs."""
    return fetched(to_arrays(together(state))) | {"stats": fetched(stats)}


def averaged_arrays(state: TrainState | Members, stats: Any) -> dict[str, Any]:
    """The model of the averaged parameters, without the state of the optimizer."""
    state = together(state)
    return fetched({"step": state.step, "params": state.ema, "stats": stats})


def without_adapters(arrays: dict[str, Any], meta: Meta, lora: LoraConfig) -> tuple[dict[str, Any], Meta]:
    """The arrays of a model as those of one without adapters, and what its checkpoint says.

    The state of the optimizer, which is about the adapters, is left out.
    """
    config = meta["config"]
    plain = {"step": arrays["step"], "params": merged_params(arrays["params"], lora), "stats": arrays["stats"]}
    return plain, meta | {"config": config | {"model": config["model"] | {"lora": None}}}


@dataclass
class BestKeeper:
    """Follows the full validations of one set of parameters, those that are trained or their averages.

    Attributes:
        calendar: when it is due.
        metric: which one decides.
        log: the file with the results.
        best: the checkpoints that are kept; None keeps none.
        averaged: whether it is about the averages.
        task: whose data are evaluated; "" for the only one.
        lora: adapters of the model; its best checkpoints have them in the weights.
    """

    calendar: Calendar
    metric: str
    log: ValidationLog
    best: BestCheckpoints | None
    averaged: bool
    task: str = ""
    lora: LoraConfig | None = None

    def params(self, state: TrainState) -> Any:
        """The parameters to validate."""
        return state.ema if self.averaged else state.params

    def note(self, step: int, metrics: Metrics, state: TrainState, stats: Any, meta: Meta) -> Path | None:
        """Writes a result down, and the checkpoint if it is among the best."""
        record = Record(chosen(metrics, self.metric), step)
        path = None
        if self.best is not None:
            arrays = averaged_arrays(state, stats) if self.averaged else full_arrays(state, stats)
            if self.lora is not None:
                arrays, meta = without_adapters(arrays, meta, self.lora)
            path = self.best.offer(record, arrays, meta)
        self.log.report(step, metrics, path, self.metric)
        return path

    def state(self) -> Meta:
        """What a restart must know, JSON-able."""
        records = [] if self.best is None else [[r.metric, r.step] for r in self.best.records]
        return {"metric": self.metric, "records": records}


def records_of(saved: Mapping[str, Any] | None, metric: str) -> list[Record]:
    """The records of a run that is continued; those of another metric say nothing."""
    if saved is None or saved["metric"] != metric:
        return []
    return [Record(float(value), int(step)) for value, step in saved["records"]]
