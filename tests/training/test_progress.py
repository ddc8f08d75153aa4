"""The display of a run: lines for files, a bar for terminals, honest speed and time left."""

from __future__ import annotations

import io

import pytest

from dpjax.errors import ConfigError
from dpjax.training.progress import Progress, duration, error_text

TRAINING = {"rmse": 3.0, "rmse_e": 0.01, "rmse_f": 0.5}


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(progress, clock, first=0, last=100, every=50):
    """The first update takes 30 s, every other 0.5 s."""
    for step in range(first, last):
        clock.now += 30.0 if step == first else 0.5
        progress.advance(step + 1)
        if step == first or (step + 1) % every == 0:
            progress.report(step + 1, TRAINING, None, 1e-3)
    progress.finish()


def test_lines_say_errors_speed_and_time_left():
    out, clock = io.StringIO(), Clock()
    run(Progress("auto", 0, 100, out, clock), clock)
    assert out.getvalue().splitlines() == [
        "step   1/100  rmse_e 1.00e-02  rmse_f 5.00e-01  lr 1.0e-03",
        "step  50/100  rmse_e 1.00e-02  rmse_f 5.00e-01  lr 1.0e-03  2 steps/s  left 25 s",
        "step 100/100  rmse_e 1.00e-02  rmse_f 5.00e-01  lr 1.0e-03  2 steps/s  left 0 s",
        "100 steps in 1:20 min (2 steps/s after the first)",
    ]


def test_a_restarted_run_counts_its_own_steps():
    out, clock = io.StringIO(), Clock()
    run(Progress("lines", 80, 100, out, clock), clock, first=80)
    assert out.getvalue().splitlines()[-1] == "20 steps in 40 s (2 steps/s after the first)"


def test_a_terminal_gets_a_bar_and_one_line_at_the_end():
    out, clock = Terminal(), Clock()
    run(Progress("auto", 0, 100, out, clock), clock)
    text = out.getvalue()
    assert "100/100" in text and "rmse_f 5.00e-01" in text
    assert text.endswith("\n100 steps in 1:20 min (2 steps/s after the first)\n") and text.count("\n") == 2


def test_times_are_left_out_where_nobody_asked_for_them():
    out, bar, clock = io.StringIO(), Terminal(), Clock()
    run(Progress("lines", 0, 100, out, clock, timed=False), clock)
    run(Progress("bar", 0, 100, bar, clock, timed=False), clock)
    assert out.getvalue().splitlines()[-1] == "100 steps"
    assert "steps/s" not in out.getvalue() + bar.getvalue() and "step/s" not in bar.getvalue()


def test_none_is_silent():
    out, clock = Terminal(), Clock()
    run(Progress("none", 0, 100, out, clock), clock)
    assert out.getvalue() == ""


def test_an_unknown_mode_is_refused():
    with pytest.raises(ConfigError, match="dpjax/progress: found 'loud'"):
        Progress("loud", 0, 1)


def test_no_summary_after_an_error():
    out = io.StringIO()
    with pytest.raises(RuntimeError), Progress("lines", 0, 10, out):
        raise RuntimeError
    assert out.getvalue() == ""


def test_a_run_without_steps():
    out = io.StringIO()
    with Progress("lines", 5, 5, out, Clock()):
        pass
    assert out.getvalue() == "0 steps in 0 s\n"


def test_validation_errors_stand_beside():
    assert error_text({"rmse": 1.0}, None) == "rmse 1.00e+00"
    assert error_text(TRAINING, {"rmse_e": 0.02, "rmse_f": 1.0, "rmse": 4.0}) == (
        "rmse_e 1.00e-02 (val 2.00e-02)  rmse_f 5.00e-01 (val 1.00e+00)"
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1:00 min"), (185, "3:05 min"), (25400, "7:03:20 h")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text
