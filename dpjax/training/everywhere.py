"""One training in several processes: what each of them does, and what becomes of the others when one is gone."""

from __future__ import annotations

import copy
import json
import logging
import shutil
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from dpjax.config import Config, load
from dpjax.config.optimizers import LkfConfig
from dpjax.errors import ConfigError, HostError
from dpjax.training.run import saver_of

LOST = (
    "gloo",
    "nccl",
    "connection",
    "heartbeat",
    "unavailable",
    "deadline",
)  # in messages about a process that is gone
UNWRITTEN = {
    "training": {
        "save_ckpt": "model.ckpt", "disp_file": "lcurve.out",
        "tensorboard": False, "profiling": False, "enable_profiler": False,
    },
    "validating": {"full_val_file": "val.log"},
    "dpjax": {"progress": "none"},
}  # fmt: skip


def train_everywhere(run: Callable, source: Any, output: Path, *, restart: Any, initial: Any) -> Any:
    """``run`` on this process, which may be one of several; arguments and errors as for it.

    Raises:
        ConfigError: the input asks for what several processes cannot do, or theirs differ.
        HostError: another process is gone.
    """
    if jax.process_count() == 1:
        return run(source, output, restart=restart, initial=initial)
    config = load(source)
    _require_fitting(config)
    try:
        _require_same(config)
        if jax.process_index() == 0:
            return run(source, output, restart=restart, initial=initial)
        return _quietly(run, config, output, restart, initial)
    except jax.errors.JaxRuntimeError as error:
        if not any(word in str(error).lower() for word in LOST):
            raise
        raise HostError(
            f"process {jax.process_index()} of {jax.process_count()} lost another one ({str(error).splitlines()[0]}). Look at its "
            "messages; --restart, on any number of processes, goes on from the last checkpoint."
        ) from error


def _quietly(run: Callable, config: Config, output: Path, restart: Any, initial: Any) -> Any:
    """``run`` without progress and messages; what it writes goes into a folder that is removed."""
    logging.getLogger("dpjax").setLevel(logging.WARNING)
    data = copy.deepcopy(config.raw)
    for section, values in UNWRITTEN.items():
        data[section] |= values
    data["training"].pop("save_dir", None)
    data["validating"].pop("save_best_dir", None)
    with tempfile.TemporaryDirectory(prefix="dpjax-process-") as name:
        if restart is True:
            restart = _copied_checkpoint(config, output, Path(name))
        return replace(run(data, Path(name), restart=restart, initial=initial), checkpoint=None)


def _copied_checkpoint(config: Config, output: Path, folder: Path) -> Any:
    """A copy of the newest checkpoint; True where there is none, which ``run`` reports."""
    store = saver_of(config.training, output).store
    newest = store.latest_step()
    return True if newest is None else shutil.copytree(store.path(newest), folder / f"model.ckpt-{newest}")


def _require_fitting(config: Config) -> None:
    if config.training.change_bias_after_training:
        text = "found true with several processes. Set it to false, and use `dpjax change-bias` afterwards."
        raise ConfigError(f"training/change_bias_after_training: {text}")
    if isinstance(config.optimizer, LkfConfig):
        raise ConfigError("optimizer/type: found LKF with several processes, but it trains in one. Start one process.")


def _require_same(config: Config) -> None:
    """All processes have the same input."""
    own = zlib.crc32(json.dumps(config.raw, sort_keys=True, default=str).encode())
    if len(set(np.asarray(multihost_utils.process_allgather(np.uint32(own))).ravel().tolist())) > 1:
        raise ConfigError("the processes of this training were given different inputs. Give all of them the same file.")
