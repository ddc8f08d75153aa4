"""Files we save, converted and evaluated by DeePMD-kit itself (PyTorch backend, which has forces).

``PEER`` names a virtual environment that has deepmd-kit 3.2.0.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import dpjax
from dpjax.config.fittings.outputs import ENERGY
from tests.contracts.cases import CASES, Case, hybrid, model, potential, se_atten, se_e2_a
from tests.contracts.structures import make

SCRIPT = """
import sys
import numpy as np
from deepmd.entrypoints.convert_backend import convert_backend
from deepmd.infer import DeepPot
stored, inputs, outputs = sys.argv[1:]
convert_backend(INPUT=stored, OUTPUT=stored + ".pth", atomic_virial=True)
data = dict(np.load(inputs))
coord, cell, atype = (data.pop(name) for name in ("coord", "cell", "atype"))
out = DeepPot(stored + ".pth").eval(coord, cell, atype, atomic=True, **data)
np.savez(outputs, **dict(zip(("energy", "force", "virial", "atom_energy", "atom_virial", "force_mag"), out)))
"""
OTHER_OUTPUTS = """
import sys
import numpy as np
import torch
from deepmd.entrypoints.convert_backend import convert_backend
stored, inputs, outputs = sys.argv[1:]
convert_backend(INPUT=stored, OUTPUT=stored + ".pth", atomic_virial=True)
model = torch.jit.load(stored + ".pth", map_location="cpu")
data = {name: torch.as_tensor(array) for name, array in np.load(inputs).items()}
out = model(data["coord"], data["atype"][None], data["cell"], data.get("fparam"), data.get("aparam"), do_atomic_virial=True)
np.savez(outputs, **{name: array.detach().numpy() for name, array in out.items()})
"""
NARROW = se_e2_a(rcut=2.2, sel=[5, 3], type_one_side=False, exclude_types=[[0, 0], [0, 1]])
WIDE = [
    Case("se_e2_a-truncated", model(se_e2_a(sel=[2, 3]), atom_exclude_types=[0])),
    Case("hybrid-truncated", model(hybrid(se_e2_a(sel=[3, 4]), NARROW), pair_exclude_types=[[1, 1]])),
    Case("hybrid-mixed-truncated", model(hybrid(NARROW, se_atten(sel=9, exclude_types=[[0, 0]])))),
    Case("hybrid-short-truncated", model(hybrid(se_atten(rcut=2.2, sel=9), se_e2_a(sel=[3, 4])))),
]

OF_ENERGIES = [case for case in CASES if case.in_pytorch and case.output == ENERGY]
OF_OTHERS = [case for case in CASES if case.in_pytorch and case.output != ENERGY]
OTHERS = [
    Case("dos", model(se_atten(), fitting={"type": "dos", "numb_dos": 4, "numb_fparam": 1})),
    Case("property", model(se_e2_a(), fitting={"type": "property", "property_name": "gap", "intensive": True})),
    Case(
        "property-alike",
        model(
            se_atten(), fitting={"type": "property", "property_name": "gap", "task_dim": 2, "distinguish_types": False}
        ),
    ),
    Case("dipole", model(se_e2_a(), fitting={"type": "dipole", "sel_type": [0], "numb_aparam": 1})),
    Case("dipole-hybrid", model(hybrid(se_e2_a(), se_atten()), fitting={"type": "dipole"})),
    Case("polar", model(se_e2_a(), fitting={"type": "polar", "scale": [2.0, 0.5], "fit_diag": False})),
    Case("polar-selected", model(se_atten(), fitting={"type": "polar", "sel_type": 1}, atom_exclude_types=[])),
]


def peer_python() -> str:
    """Interpreter of the peer environment, or a skip."""
    folder = os.environ.get("PEER")
    if not folder:
        pytest.skip("PEER does not name an environment with DeePMD-kit")
    return str(Path(folder, "bin", "python"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "suffix"),
    [*((case, ".dp") for case in [*OF_ENERGIES, *WIDE]), (CASES[1], ".yaml")],
    ids=lambda x: getattr(x, "name", x),
)
def test_deepmd_kit_gives_the_same_numbers(case, suffix, tmp_path):
    python = peer_python()
    section = case.section
    section = section | {
        "fitting_net": section["fitting_net"] | {"dim_case_embd": 0}
    }  # the kit cannot set it in DeepPot
    pot = potential(section)
    inputs = crystal(pot)
    want = pot.evaluate(**inputs, atomic=True)
    got = evaluated_there(SCRIPT, python, pot, inputs, tmp_path / f"model{suffix}")
    compare(f"{case.name}{suffix}", got, want, {"energy": 1e-10})


@pytest.mark.slow
@pytest.mark.parametrize("case", [*OTHERS, *OF_OTHERS], ids=lambda case: case.name)
def test_deepmd_kit_gives_the_same_tensors_and_properties(case, tmp_path):
    """Every output, derivatives of dipoles and the mask included, under DeePMD-kit's own names."""
    python = peer_python()
    pot = potential(case.section)
    fixed = pot.variables["stats"]["fitting_net"]
    if "constant_matrix" in fixed:
        fixed["constant_matrix"] *= 0  # the PyTorch backend stores it and leaves it out; the others add it
    inputs = crystal(pot)
    want = pot.evaluate(**inputs, atomic=True)
    got = evaluated_there(OTHER_OUTPUTS, python, pot, inputs, tmp_path / "model.dp")
    assert {name for name in got if not name.startswith("extended")} == want.keys()
    compare(case.name, {name: got[name] for name in want}, want, {})


def crystal(pot: dpjax.Potential) -> dict[str, np.ndarray]:
    """A frame with whatever inputs the potential takes."""
    s = make("crystal", numbers=(5, 8), **pot.config.inputs)
    given = {name: getattr(s, name) for name in ("coord", "cell", "fparam", "aparam", "charge_spin", "spin")}
    return {name: array[None] for name, array in given.items() if array is not None} | {"atype": s.atype}


def evaluated_there(script: str, python: str, pot: dpjax.Potential, inputs: dict, path: Path) -> dict[str, np.ndarray]:
    """What DeePMD-kit makes of a potential that is saved under ``path``."""
    dpjax.save(pot, path)
    np.savez(path.with_name("in.npz"), **inputs)
    files = [path, path.with_name("in.npz"), path.with_name("out.npz")]
    quiet = os.environ | {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([python, "-c", script, *map(str, files)], capture_output=True, text=True, env=quiet)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(np.load(files[2]))


def compare(what: str, got: dict, want: dict, tolerance: dict[str, float]) -> None:
    """Errors relative to the largest number of each array, at least 1."""
    for name, array in got.items():
        error = np.abs(array.reshape(want[name].shape) - want[name]).max() / max(1.0, np.abs(want[name]).max())
        print(f"{what} {name}: largest difference {error:.1e}")
        assert error < tolerance.get(name, 1e-9), name
