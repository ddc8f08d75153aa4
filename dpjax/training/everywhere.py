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

from dpjax.config import Config, Tasks, load_any
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


def train_everywhere(run: Callable, source: Any, output: Path, *, restart: Any = None, **start: Any) -> Any:
    """``run`` on this process, which may be one of several; arguments and errors as for it.

    Raises:
        ConfigError: the processes were given different inputs.
        HostError: another process is gone.
    """
    if jax.process_count() == 1:
        return run(source, output, restart=restart, **start)
    given = load_any(source)
    try:
        _require_same(given)
        if jax.process_index() == 0:
            return run(source, output, restart=restart, **start)
        return _quietly(run, given, output, restart, start)
    except jax.errors.JaxRuntimeError as error:
        if not any(word in str(error).lower() for word in LOST):
            raise
        raise HostError(
            f"process {jax.process_index()} of {jax.process_count()} lost another one ({str(error).splitlines()[0]}). Look at its "
            "messages; --restart, on any number of processes, goes on from the last checkpoint."
        ) from error


def _quietly(run: Callable, given: Config | Tasks, output: Path, restart: Any, start: dict[str, Any]) -> Any:
    """``run`` without progress and messages; what it writes goes into a folder that is removed."""
    logging.getLogger("dpjax").setLevel(logging.WARNING)
    data = copy.deepcopy(given.raw)
    for section, values in UNWRITTEN.items():
        data[section] |= values
    data["training"].pop("save_dir", None)
    data["validating"].pop("save_best_dir", None)
    with tempfile.TemporaryDirectory(prefix="dpjax-process-") as name:
        if restart is True:
            restart = _copied_checkpoint(given.first, output, Path(name))
        return replace(run(data, Path(name), restart=restart, **start), checkpoint=None)


def _copied_checkpoint(config: Config, output: Path, folder: Path) -> Any:
    """A copy of the newest checkpoint; True where there is none, which ``run`` reports."""
    store = saver_of(config.training, output).store
    newest = store.latest_step()
    return True if newest is None else shutil.copytree(store.path(newest), folder / f"model.ckpt-{newest}")


def _require_same(given: Config | Tasks) -> None:
    """All processes have the same input."""
    own = zlib.crc32(json.dumps(given.raw, sort_keys=True, default=str).encode())
    if len(set(np.asarray(multihost_utils.process_allgather(np.uint32(own))).ravel().tolist())) > 1:
        raise ConfigError("the processes of this training were given different inputs. Give all of them the same file.")
