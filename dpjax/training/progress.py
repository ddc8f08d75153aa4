"""What a training shows while it runs: a progress bar on a terminal, one line per display interval elsewhere.

Both say the same: updates done, errors of the last display step, speed, and the time left.  Speed and time left leave out the first
update, which compiles.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from tqdm import tqdm

from dpjax.errors import ConfigError
from dpjax.training.rows import in_order

MODES = ("auto", "bar", "lines", "none")

Row = Mapping[str, float]


class Progress:
    """Follows a run from ``first`` to ``last`` updates.

    Args:
        mode: ``bar``, ``lines``, ``none``, or ``auto``: a bar if ``stream`` is a terminal, else lines.
        first: updates done before this run.
        last: updates done at its end.
        stream: where to show it; standard error if None.
        clock: seconds; a test passes its own.
        timed: whether to say how long steps take.

    Raises:
        ConfigError: unknown mode.
    """

    def __init__(
        self,
        mode: str,
        first: int,
        last: int,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        timed: bool = True,
    ) -> None:
        if mode not in MODES:
            raise ConfigError(f"dpjax/progress: found {mode!r}, expected one of: {', '.join(MODES)}.")
        self._stream = sys.stderr if stream is None else stream
        self._mode = ("bar" if self._stream.isatty() else "lines") if mode == "auto" else mode
        self._first, self._last, self._done = first, last, first
        self._clock, self._timed = clock, timed
        self._start = clock()
        self._compiled: tuple[int, float] | None = None  # updates done and time after the first update of this run
        self._reported: tuple[int, float] | None = None  # the same at the last report
        self._bar = self._new_bar() if self._mode == "bar" else None

    def advance(self, step: int) -> None:
        """``step`` updates are done."""
        if self._compiled is None:
            self._compiled = self._reported = (step, self._clock())
        if self._bar is not None:
            self._bar.update(step - self._done)
        self._done = step

    def report(self, step: int, training: Row, validation: Row | None, rate: float) -> None:
        """Shows the errors of a display step; arguments as for the learning curve."""
        errors = error_text(training, validation)
        if self._bar is not None:
            self._bar.set_postfix_str(errors)
        elif self._mode == "lines":
            width = len(str(self._last))
            self._print(f"step {step:>{width}}/{self._last}  {errors}  lr {rate:.1e}{self._pace(step)}")
        self._reported = (step, self._clock())

    def finish(self) -> None:
        """Ends the display with one line on the whole run."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if self._mode != "none":
            took = f" in {duration(self._clock() - self._start)}{self._mean_speed()}" if self._timed else ""
            self._print(f"{self._done - self._first} steps{took}")
        self._mode = "none"

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type | None, *rest: object) -> None:
        if kind is None:
            self.finish()
        elif self._bar is not None:
            self._bar.close()

    def _new_bar(self) -> tqdm:
        times = "[{elapsed}<{remaining}, {rate_fmt}] " if self._timed else ""
        return tqdm(
            total=self._last,
            initial=self._first,
            unit="step",
            file=self._stream,
            dynamic_ncols=True,
            smoothing=0.05,
            bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} " + times + "{postfix}",
        )

    def _pace(self, step: int) -> str:
        """Speed since the last report and the time left at the mean speed."""
        speed, mean = self._speed_since(self._reported), self._speed_since(self._compiled)
        if speed is None or mean is None or not self._timed:
            return ""
        return f"  {number(speed)} steps/s  left {duration((self._last - step) / mean)}"

    def _mean_speed(self) -> str:
        mean = self._speed_since(self._compiled)
        return "" if mean is None else f" ({number(mean)} steps/s after the first)"

    def _speed_since(self, mark: tuple[int, float] | None) -> float | None:
        if mark is None or self._done <= mark[0]:
            return None
        return (self._done - mark[0]) / max(self._clock() - mark[1], 1e-9)

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


def error_text(training: Row, validation: Row | None) -> str:
    """``rmse_e 1.1e-02 (val 1.3e-02)  rmse_f ...``; the overall ``rmse``, which mixes units, only where there is nothing else."""
    names = [name for name in in_order(training) if name.partition("@")[0] != "rmse"] or in_order(training)
    parts = []
    for name in names:
        value = "" if validation is None or name not in validation else f" (val {validation[name]:.2e})"
        parts.append(f"{name} {training[name]:.2e}{value}")
    return "  ".join(parts)


def number(speed: float) -> str:
    """Three digits at most, as a person would say it."""
    return f"{speed:.0f}" if speed >= 100 else f"{speed:.3g}"


def duration(seconds: float) -> str:
    """``42 s``, ``3:05 min`` or ``7:03:20 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, left = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{left:02d} min"
    return f"{minutes // 60}:{minutes % 60:02d}:{left:02d} h"
