"""The artifact in an interpreter without dpjax: equal to ``Potential.evaluate``, with as many programs as the ladder says."""

from __future__ import annotations

import ast
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dpjax
from dpjax.export import runtime, save
from tests.export.frames import assert_close, expected, frame, padded_sizes, thin_frame
from tests.models.reference import Reference
from tests.shared import golden

ALONE = """
import builtins, json, pickle, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("dpjax", "flax", "optax", "orbax", "vesin", "h5py", "dargs", "yaml"):
            raise ModuleNotFoundError(f"{name} is not installed here")
sys.meta_path.insert(0, Absent())
sys.path.insert(0, sys.argv[1])
try:
    import dpjax
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("dpjax can be imported")
import jax
from runtime import Artifact
jobs = pickle.load(open(sys.argv[2], "rb"))
results = []
for path, calls in jobs:
    model = Artifact(path)
    outputs = [model.evaluate(**arguments) for arguments in calls]
    results.append((outputs, model.programs, sum(call._cache_size() for call in model._calls.values())))
assert not jax.config.jax_enable_x64, "the runtime left 64-bit types on"
assert not [name for name in sys.modules if name.split(".")[0] in ("dpjax", "flax")]
pickle.dump(results, open(sys.argv[3], "wb"))
"""


def evaluate_alone(folder: Path, jobs: list[tuple[Path, list[dict]]]) -> list[tuple[list[dict], int, int]]:
    """Outputs of all calls, and the programs each artifact counted and JAX compiled, from a process without dpjax."""
    folder.mkdir(exist_ok=True)
    shutil.copy(runtime.__file__, folder / "runtime.py")
    given, found = folder / "given.pickle", folder / "found.pickle"
    given.write_bytes(pickle.dumps([(str(path), calls) for path, calls in jobs]))
    command = [sys.executable, "-I", "-c", ALONE, str(folder), str(given), str(found)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return pickle.loads(found.read_bytes())


PARAMETERS = {"plain": {}, "everything": {"fparam": 2, "aparam": 1}, "mixed": {}}


def frames_of(name: str) -> list[dict]:
    own = PARAMETERS[name]
    sizes = (3, 24, 192) if name == "plain" else (24,)
    frames = [*(frame(n, periodic=p, **own) for n in sizes for p in (True, False)), thin_frame(**own)]
    for given in frames[:-1] if name != "plain" else ():
        given["atype"][1] = 2  # a type without energy and, where sel tells types apart, without places among neighbours
    return frames


@pytest.mark.parametrize("name", ["plain", "everything", pytest.param("mixed", marks=pytest.mark.slow)])
def test_equal_to_evaluate_without_dpjax(potentials, artifacts, name, tmp_path):
    pot, frames = potentials[name], frames_of(name)
    calls = [{**given, "atomic": True} for given in frames]
    [(outputs, counted, compiled)] = evaluate_alone(tmp_path, [(artifacts[name], calls)])
    for i, (got, want) in enumerate(zip(outputs, expected(pot, frames), strict=True)):
        assert_close(got, want, where=f"frame {i}")
    known = {padded_sizes(pot, given) for given in frames}
    assert counted == compiled == len(known) <= 4


@pytest.mark.slow
def test_many_atoms_without_dpjax(potentials, artifacts, tmp_path):
    pot, frames = potentials["plain"], [frame(3000, periodic=p, seed=s) for p in (True, False) for s in (1, 2)]
    calls = [{**f, "atomic": True} for f in frames]
    [(outputs, counted, compiled)] = evaluate_alone(tmp_path, [(artifacts["plain"], calls)])
    for got, want in zip(outputs, expected(pot, frames), strict=True):
        assert_close(got, want)
    assert counted == compiled == 1


@pytest.mark.slow
@pytest.mark.parametrize("case", ["se_e2_a_sel_overflow", "se_atten_not_smooth_sel_overflow", "hybrid_att_sea_rcut"])
def test_reference_model_without_dpjax(case, tmp_path):
    """More neighbours than ``sel``: cut by the runtime, equal to DeePMD-kit's own numbers."""
    reference = Reference(golden("models", case))
    pot = dpjax.load(reference.folder / "model.dp")
    rows = reference.arguments()
    calls = [
        {
            "coord": coord[None],
            "atype": atype,
            "cell": None if cell is None else np.reshape(cell, (1, 3, 3)),
            "atomic": True,
        }
        for coord, atype, cell in zip(rows["coord"], rows["atype"], rows["cell"], strict=True)
    ]
    [(outputs, _, _)] = evaluate_alone(tmp_path, [(save(pot, tmp_path / "model.dpx", platforms="cpu"), calls)])
    joined = {name: [out[name][0] for out in outputs] for name in outputs[0]}
    reference.compare(joined)
    for i, (got, want) in enumerate(zip(outputs, expected(pot, calls), strict=True)):
        assert_close(got, want, where=f"frame {i}")


def test_runtime_names_nothing_but_jax_and_numpy():
    tree = ast.parse(Path(runtime.__file__).read_text(encoding="utf-8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    packages = {name.split(".")[0] for name in names}
    assert packages - set(sys.stdlib_module_names) == {"jax", "numpy"}
    assert not any(node.level for node in nodes if isinstance(node, ast.ImportFrom))
