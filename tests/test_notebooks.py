"""The notebooks run from top to bottom in a fresh interpreter, and hold no outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
QUICK = {"DPJAX_NOTEBOOK_STEPS": "100", "MPLBACKEND": "Agg", "TF_CPP_MIN_LOG_LEVEL": "3"}


def code_cells(path: Path) -> list[dict]:
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_are_stored_without_outputs(path):
    cells = code_cells(path)
    assert cells
    for number, cell in enumerate(cells):
        assert cell["outputs"] == [], f"cell {number} holds outputs; clear them before you store the notebook"
        assert cell["execution_count"] is None
        compile("".join(cell["source"]), f"{path.name}, code cell {number}", "exec")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_run_in_order(path):
    """As in a kernel: one namespace, cell after cell, in the folder of the notebook."""
    script = "\n".join(
        f"exec(compile({''.join(cell['source'])!r}, {f'{path.name}, code cell {number}'!r}, 'exec'), globals())"
        for number, cell in enumerate(code_cells(path))
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=path.parent,
        env={**os.environ, **QUICK},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
