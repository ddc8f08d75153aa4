"""DeePMD-kit's own example inputs, normalised by DeePMD-kit and by us.

``PEER`` names a virtual environment that has deepmd-kit 3.2.0, ``DEEPMD_EXAMPLES`` the folder ``examples`` of a checkout of
its repository.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dpjax import config
from dpjax.config import multi_task
from dpjax.config.problems import Report
from tests.interop.test_peer import peer_python
from tests.shared import REPOSITORY

# What docs/differences.md ("Normalised inputs") says, as patterns of paths; `here` or `there` says who has the key.
DIFFERENCES = (
    # title of the row there, pattern, values: ours -> theirs (MISSING: the key is absent)
    ("options newer than the list", None, None),
    ("`ema_ckpt_keep`", r"training/ema_ckpt_keep", (3, None)),
    ("`sel` of `dpa4`", r".*descriptor/sel", ("auto", 256)),
    ("the `dpjax` section", r"dpjax", None),
    ("`validating`", r"validating(/.*)?", None),
    ("`so2_layers`", r".*descriptor/(so2_layers|mixing_layers)", None),
    ("`shared_dict`", r"model/shared_dict(/.*)?", None),
)
NEWER = {row.path for row in config.options_table() if row.newer}
MISSING = "(absent)"

SCRIPT = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
from deepmd.utils.argcheck import normalize
from deepmd.utils.compat import update_deepmd_input
out = {}
for name in sys.argv[2:]:
    data = json.load(open(name))
    several = "model_dict" in data["model"]
    if several:
        from deepmd.pt.utils.multi_task import preprocess_shared_params
        data["model"], _ = preprocess_shared_params(data["model"])
    os.chdir(os.path.dirname(name))
    out[name] = normalize(update_deepmd_input(data, warning=False), multi_task=several)
json.dump(out, open(sys.argv[1], "w"))
"""


def examples() -> list[Path]:
    """Training inputs below the folder; other JSON files (for i-PI, NVNMD's own form) have no ``model`` section."""
    root = os.environ.get("DEEPMD_EXAMPLES")
    files = sorted(Path(root).resolve().rglob("*.json")) if root else []
    return [f for f in files if '"model"' in f.read_text() and '"training"' in f.read_text() and "lmp" not in f.parts]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory) -> dict[str, Any]:
    python, out = peer_python(), tmp_path_factory.mktemp("peer") / "normalized.json"
    files = [str(f) for f in examples()]
    if not files:
        pytest.skip("DEEPMD_EXAMPLES does not name the examples folder of a checkout of DeePMD-kit")
    subprocess.run([python, "-c", SCRIPT, str(out), *files], check=True, capture_output=True, text=True)
    return json.loads(out.read_text())


def ours(path: Path) -> dict[str, Any]:
    raw = config.normalize(path)
    if multi_task.is_multi_task(raw):
        multi_task.resolved(raw, Report())
    return raw


def differing(mine: Any, other: Any, path: str = "", typed: str = "") -> Iterator[tuple[str, str, Any, Any]]:
    """(path, path with types as the table of options has it, ours, theirs)."""
    if isinstance(mine, dict) and isinstance(other, dict):
        kind = f"[{mine['type']}]" if isinstance(mine.get("type"), str) else ""
        for key in sorted({*mine, *other}):
            named = path.rpartition("/")[2] in ("model_dict", "loss_dict", "data_dict")
            inner = typed if named else f"{typed}{kind}/{key}" if typed else key
            here = f"{path}/{key}" if path else key
            yield from differing(mine.get(key, MISSING), other.get(key, MISSING), here, inner)
    elif isinstance(mine, list) and isinstance(other, list) and len(mine) == len(other):
        for i, (a, b) in enumerate(zip(mine, other)):
            yield from differing(a, b, f"{path}/{i}", typed)
    elif mine != other:
        yield path, typed, mine, other


def explained(path: str, typed: str, mine: Any, other: Any) -> bool:
    plain = re.sub(r"model/model_dict", "model", typed).replace("loss_dict", "loss").replace("data_dict/", "")
    plain = re.sub(r".*(models|qm_model|qmmm_model)\[", "model[", plain).replace(
        "descriptor[hybrid]/list", "descriptor"
    )
    if mine == MISSING and {plain, re.sub(r"^model\[\w+\]", "model", plain)} & NEWER:
        return True
    rows = [values for _, pattern, values in DIFFERENCES if pattern and re.fullmatch(pattern, path)]
    return any(values is None or (mine, other) == values for values in rows)


@pytest.mark.slow
def test_the_examples_normalise_to_the_same_values(theirs):
    wrong = []
    for name, other in theirs.items():
        for path, typed, a, b in differing(ours(Path(name)), other):
            if not explained(path, typed, a, b):
                wrong.append(f"{Path(name).parent.name}/{Path(name).name}: {path}: ours {a!r}, DeePMD-kit {b!r}")
    assert not wrong, "\n".join(wrong)


def test_every_difference_is_documented():
    text = (REPOSITORY / "docs" / "differences.md").read_text()
    section = text.partition("## Normalised inputs")[2].partition("\n## ")[0]
    for title, _, _ in DIFFERENCES:
        assert title in section, title
