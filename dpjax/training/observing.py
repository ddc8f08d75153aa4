"""What can be looked at beside the learning curve: entries for TensorBoard, and a profile of a few steps."""

from __future__ import annotations

import gzip
import logging
import math
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import jax

from dpjax.config import TrainingConfig
from dpjax.errors import ConfigError, OutputError

log = logging.getLogger(__name__)

TASK = "Default"  # what DeePMD-kit calls the only task of a training
FLUSH = 30.0  # seconds an entry may wait before it is on disk
FIRST, NUMBER = 2, 20  # steps of a run before its profile begins (those compile), and steps in it


class Board:
    """Writes loss, errors and learning rate for TensorBoard, under the tags that DeePMD-kit uses.

    Args:
        folder: for the event files.
        every: steps between two entries; the first step always has one.

    Raises:
        ConfigError: tensorboardX is not installed.
        OutputError: the folder cannot be written.
    """

    def __init__(self, folder: Path, every: int) -> None:
        try:
            from tensorboardX import event_file_writer
        except ImportError:
            raise ConfigError(
                'training/tensorboard: found true, but tensorboardX is not installed. Run `pip install "dpjax[tensorboard]"`, or '
                "set it to false."
            ) from None
        self._every, self._folder, self._flushed = every, folder, -math.inf
        with self._refused():
            folder.mkdir(parents=True, exist_ok=True)
            # not the usual writer: its thread dies of a full disk, and the run then waits for it without end
            self._events = event_file_writer.EventsWriter(str(folder / "events"))

    def due(self, step: int) -> bool:
        """Whether the step with this number, counted from 1, has an entry."""
        return step == 1 or step % self._every == 0

    def write(self, step: int, metrics: Mapping[str, Any], rate: float, task: str = "") -> None:
        """Adds an entry of a task, "" for the only one; metrics whose data lack the label are left out.

        Raises:
            OutputError: it cannot be written, for example because the disk is full.
        """
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        now = time.time()
        with self._refused():
            for name, value in {"lr": rate, **dict(sorted(metrics.items()))}.items():
                if not math.isnan(value):
                    summary = scalar(f"{task or TASK}/{name}", float(value))
                    self._events.write_event(Event(step=step, wall_time=now, summary=summary))
            if now > self._flushed + FLUSH:
                self._flushed = now
                self._events.flush()

    def close(self) -> None:
        """Writes what is left.

        Raises:
            OutputError: it cannot be written.
        """
        with self._refused():
            self._events.close()

    @contextmanager
    def _refused(self) -> Iterator[None]:
        """What the system refuses, in words."""
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self._folder}: cannot write entries for TensorBoard ({error.strerror or error}). Free disk space or choose "
                "another training/tensorboard_log_dir; checkpoints saved before are untouched."
            ) from error

    def __enter__(self) -> Board:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        with nullcontext() if kind is None else suppress(OutputError):  # an earlier error says more
            self.close()


class Profile:
    """A trace of ``NUMBER`` steps of a run, after those that compile, by JAX's profiler.

    Args:
        trace: file for it in Chrome's format (chrome://tracing, Perfetto); None for none.
        folder: where TensorBoard's profile plug-in looks for it; None for none.
    """

    def __init__(self, trace: Path | None, folder: Path | None) -> None:
        self._trace, self._folder = trace, folder
        self._work: str | None = None
        self._steps = 0

    def step(self) -> None:
        """A step of this run is about to be made."""
        if self._steps == FIRST:
            self._work = tempfile.mkdtemp(prefix="dpjax-profile-")
            jax.profiler.start_trace(self._work)
        if self._steps == FIRST + NUMBER:
            self.close()
        self._steps += 1

    def close(self) -> None:
        """Writes the profile of the steps made so far; the run goes on where it cannot be written."""
        if self._work is None:
            return
        work, self._work = self._work, None
        jax.profiler.stop_trace()
        try:
            if self._folder is not None:
                shutil.copytree(work, self._folder, dirs_exist_ok=True)
                log.info("a profile for TensorBoard is in %s", self._folder)
            if self._trace is not None:
                with gzip.open(next(Path(work).rglob("*.trace.json.gz"))) as packed, self._trace.open("wb") as file:
                    shutil.copyfileobj(packed, file)
                log.info("a profile in Chrome's trace format is in %s", self._trace)
        except OSError as error:
            log.warning("%s: the profile could not be written", error)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def __enter__(self) -> Profile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def board_of(training: TrainingConfig, output: Path) -> Board | None:
    """What the input asks for; None for nothing."""
    return Board(output / training.tensorboard_log_dir, training.tensorboard_freq) if training.tensorboard else None


def profile_of(training: TrainingConfig, output: Path) -> Profile | None:
    """What the input asks for; None for nothing."""
    if not (training.profiling or training.enable_profiler):
        return None
    trace = output / training.profiling_file if training.profiling else None
    return Profile(trace, output / training.tensorboard_log_dir if training.enable_profiler else None)
