"""The scripts in ``benchmarks`` start and explain themselves; what they measure is not tested."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if "__main__" in path.read_text(encoding="utf-8"))


def run(script: Path, *args: str) -> subprocess.CompletedProcess:
    env = {name: value for name, value in os.environ.items() if name != "PEER"}
    return subprocess.run([sys.executable, str(script), *args], env=env, capture_output=True, text=True)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_help_says_how_to_call(script):
    done = run(script, "--help")
    assert done.returncode == 0, done.stderr
    assert f"benchmarks/{script.name}" in done.stdout


@pytest.mark.parametrize(
    "args, message",
    [
        (["--data", "nowhere"], "nowhere has no file type.raw"),
        (["--repeat", "0"], "give a whole number, 1 or larger"),
        (["--skip", "120"], "raise --steps or lower the others"),
        (["--output", "no/such/folder/x.json"], "give a file in a folder that exists"),
        (["--only", "pytorch"], "set PEER=DIR"),
    ],
)
def test_mistakes_are_told_before_anything_runs(args, message):
    done = run(FOLDER / "train_step.py", *args)
    assert done.returncode in (1, 2)
    assert message in done.stderr
