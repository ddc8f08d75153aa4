"""Times a training from outside, the same way for every program: by the moments at which lines appear in ``lcurve.out``."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from common import Failure, Program, environment, for_program, pin

POLL = 0.004  # seconds between looks at lcurve.out


@dataclass(frozen=True)
class Line:
    """A line of the learning curve."""

    step: int
    moment: float  # when it was seen
    values: dict[str, float]  # by name of the column


@dataclass(frozen=True)
class Run:
    """What was seen of one training."""

    launch: float
    lines: list[Line]
    ended: str  # how it ended, and the end of what it printed
    failed: bool  # it ended by itself, with an error
    peak: float  # bytes that it had in memory at most, as far as was seen; 0 where the system does not tell

    @property
    def start(self) -> float:
        """Seconds from launch to the first line."""
        return self.lines[0].moment - self.launch

    def seconds_per_step(self, skip: int) -> list[float]:
        """One number for each pair of neighbouring lines from step ``skip`` on."""
        pairs = [(a, b) for a, b in zip(self.lines, self.lines[1:]) if a.step >= skip]
        if not pairs:
            raise Failure(f"no two lines of the learning curve from step {skip} on; {self.ended}")
        return [(b.moment - a.moment) / (b.step - a.step) for a, b in pairs]


Enough = Callable[[Sequence[Line]], bool]


def train(
    program: Program, content: dict, *, threads: int, timeout: float, cache: str = "off", enough: Enough | None = None,
    keep: Path | None = None,
) -> Run:  # fmt: skip
    """Trains an input in a folder of its own, which is removed afterwards.

    Args:
        content: the input, as all programs read it.
        threads: number of cores and threads.
        timeout: seconds after which the program is stopped.
        cache: folder where dpjax keeps compiled programs between runs.
        enough: is asked after each new line whether to stop the program; None lets it come to its end.
        keep: an empty folder to train in, which stays.

    Raises:
        Failure: it wrote no line at all.
    """
    with nullcontext(keep) if keep else tempfile.TemporaryDirectory() as folder:
        Path(folder, "input.json").write_text(json.dumps(for_program(program, content, cache)))
        run = _watch(program.command, Path(folder), threads, timeout, enough or (lambda lines: False))
    if not run.lines:
        raise Failure(f"wrote no line of a learning curve; {run.ended}")
    return run


def _watch(command: Sequence[str], folder: Path, threads: int, timeout: float, enough: Enough) -> Run:
    curve = Curve(folder / "lcurve.out")
    with open(folder / "log", "w+") as log:
        launch = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment(threads), stdout=log, stderr=log)
        try:
            pin(process.pid, threads)
            ended, peak = _follow(process, curve, launch + timeout, enough)
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        tail = " | ".join(log.read().strip().splitlines()[-3:])
    failed = process.returncode > 0  # negative: it was stopped here
    return Run(launch, list(curve.lines.values()), f"{ended}: {tail}" if tail else ended, failed, peak)


def _follow(process: subprocess.Popen, curve: Curve, deadline: float, enough: Enough) -> tuple[str, float]:
    """Reads the learning curve until the process ends or is not needed any more; says how it ended and its peak memory."""
    peak = 0.0
    while process.poll() is None:
        if curve.look():
            peak = max(peak, _peak(process.pid))
            if enough(list(curve.lines.values())):
                return "stopped when enough was seen", peak
        if time.perf_counter() > deadline:
            return "stopped when its time was over", peak
        time.sleep(POLL)
    curve.look()
    return f"ended with status {process.returncode}", peak


def _peak(process: int) -> float:
    """Bytes that a process has had in memory at most."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
        return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return 0.0


class Curve:
    """A growing ``lcurve.out``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[int, Line] = {}
        self._size = 0
        self._names: list[str] = []

    def look(self) -> bool:
        """Reads what is new; true if there is a new complete line."""
        now = time.perf_counter()
        if not self.path.exists() or self.path.stat().st_size == self._size:
            return False
        text = self.path.read_bytes()
        self._size = len(text)
        before = len(self.lines)
        for row in text[: text.rfind(b"\n") + 1].decode().splitlines():
            words = row.strip("# ").split()
            if words[:1] == ["step"]:
                self._names = words
            elif words and not row.startswith("#") and int(words[0]) not in self.lines:
                values = dict(zip(self._names, map(float, words)))
                self.lines[int(words[0])] = Line(int(words[0]), now, values)
        return len(self.lines) > before
