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
np.savez(outputs, **dict(zip(("energy", "force", "virial", "atom_energy", "atom_virial"), out)))
"""
NARROW = se_e2_a(rcut=2.2, sel=[5, 3], type_one_side=False, exclude_types=[[0, 0], [0, 1]])
WIDE = [
    Case("se_e2_a-truncated", model(se_e2_a(sel=[2, 3]), atom_exclude_types=[0])),
    Case("hybrid-truncated", model(hybrid(se_e2_a(sel=[3, 4]), NARROW), pair_exclude_types=[[1, 1]])),
    Case("hybrid-mixed-truncated", model(hybrid(NARROW, se_atten(sel=9, exclude_types=[[0, 0]])))),
    Case("hybrid-short-truncated", model(hybrid(se_atten(rcut=2.2, sel=9), se_e2_a(sel=[3, 4])))),
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
    [*((case, ".dp") for case in [*CASES, *WIDE] if case.in_pytorch), (CASES[1], ".yaml")],
    ids=lambda x: getattr(x, "name", x),
)
def test_deepmd_kit_gives_the_same_numbers(case, suffix, tmp_path):
    python = peer_python()
    section = case.section
    section = section | {
        "fitting_net": section["fitting_net"] | {"dim_case_embd": 0}
    }  # the kit cannot set it in DeepPot
    pot = potential(section)
    fitting = pot.config.fitting_net
    s = make("crystal", numbers=(5, 8), fparam=fitting.numb_fparam, aparam=fitting.numb_aparam)
    inputs = {
        name: getattr(s, name)[None] for name in ("coord", "cell", "fparam", "aparam") if getattr(s, name) is not None
    }
    want = pot.evaluate(**inputs, atype=s.atype, atomic=True)

    dpjax.save(pot, tmp_path / f"model{suffix}")
    np.savez(tmp_path / "in.npz", **inputs, atype=s.atype)
    files = [tmp_path / name for name in (f"model{suffix}", "in.npz", "out.npz")]
    quiet = os.environ | {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([python, "-c", SCRIPT, *map(str, files)], capture_output=True, text=True, env=quiet)
    assert done.returncode == 0, done.stderr[-2000:]
    got = np.load(files[2])
    for name in got:
        error = np.abs(got[name].reshape(want[name].shape) - want[name]).max() / max(1.0, np.abs(want[name]).max())
        print(f"{case.name}{suffix} {name}: largest difference {error:.1e}")
        assert error < (1e-10 if name == "energy" else 1e-9), name
