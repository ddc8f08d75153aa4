"""Every stored model that this version reads, saved again and given to DeePMD-kit; and the names that its checkpoints would have.

``PEER`` names a virtual environment that has deepmd-kit 3.2.0.  All models go through one process of it, whose start is slow.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest

import dpjax
from dpjax.formats import read_model_tree
from dpjax.interop import read_model, read_weights
from tests.contracts.cases import model, se_atten, se_e2_a
from tests.interop.test_peer import peer_python
from tests.models.reference import INPUTS, OTHERS, TOLERANCE
from tests.models.test_goldens import SHIPPED, buildable
from tests.shared import golden, shared_root
from tests.training import tiny

MODIFIED = "modifier_dipole_charge"  # is not saved as .dp
CASES = sorted({*SHIPPED, *buildable()} - {MODIFIED})
TRAINED = {"trained-se_e2_a": se_e2_a(), "trained-se_atten": se_atten()}
PYTORCH_FAILS = {  # where its PyTorch backend does not give what its file says
    "polar_constant_matrix": "the PyTorch backend leaves out constant_matrix",
}
NAMED = [
    case for case in CASES if not case.startswith(("linear_", "pairtab", "zbl_"))
]  # others are read from .dp files only
JAX_FAILS = {"ener_no_hidden": "the JAX backend cannot build a net without hidden layers"}
JAX_FAILS |= {case: "the JAX backend reads no files with spins" for case in CASES if case.startswith("spin_")}
UNUSED_NETWORKS = (
    "hybrid_sea_se3",
    "se_e2_a_two_side_exclude_types",
)  # the JAX backend keeps none for pairs without use

pytestmark = pytest.mark.slow


def folder_of(case: str) -> Path:
    return golden("models", case) if case in SHIPPED else shared_root().joinpath("golden", "models", case)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Folder with the models, saved by us, and what DeePMD-kit made of them."""
    python, folder = peer_python(), tmp_path_factory.mktemp("sweep")
    for case in CASES:
        dpjax.save(dpjax.load(folder_of(case) / "model.dp"), folder / f"{case}.dp")
        arrays = dict(np.load(folder_of(case) / "ref.npz"))
        np.savez(folder / f"{case}.in.npz", **{k: v for k, v in arrays.items() if k.partition("/")[2] in INPUTS})
    for name, descriptor in TRAINED.items():
        _train(descriptor, folder, name)
    quiet = os.environ | {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    program = Path(__file__).with_name("peer_sweep.py")
    done = subprocess.run([python, str(program), str(folder)], capture_output=True, text=True, env=quiet)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    return folder


def _train(descriptor: dict, folder: Path, name: str) -> None:
    """A model after three steps on a tiny system, and a frame that it has not seen."""
    section = model(descriptor)
    config = tiny.config([tiny.system(folder / f"{name}-data")], {"training/numb_steps": 3})
    config["model"] = {**section, "type_map": config["model"]["type_map"]}
    pot = dpjax.load(dpjax.train(config, folder / f"{name}-run").checkpoint)
    dpjax.save(pot, folder / f"{name}.dp")
    coord, atype = tiny.positions(6, 1, 7), np.array([0, 1, 1, 0, 1, 1])
    np.savez(folder / f"{name}.in.npz", **{"a/coord": coord, "a/box": tiny.CELL[None], "a/atype": atype})
    out = pot.evaluate(coord, atype, tiny.CELL[None], atomic=True)
    np.savez(folder / f"{name}.want.npz", **{f"a/{key}": value for key, value in out.items()})


@pytest.mark.parametrize("case", [*CASES, *TRAINED])
def test_deepmd_kit_evaluates_what_we_saved(case, sweep):
    if case in PYTORCH_FAILS:
        pytest.skip(PYTORCH_FAILS[case])
    file = sweep / f"{case}.want.npz" if case in TRAINED else folder_of(case) / "ref.npz"
    want, got = dict(np.load(file)), dict(np.load(sweep / f"{case}.out.npz"))
    names = [name for name in want if name.partition("/")[2] not in INPUTS and "mask" not in name]
    assert any("energy" in n or "polar" in n or "dipole" in n or "dos" in n or "gap" in n for n in names)
    for name in names:
        error = np.abs(got[name].reshape(want[name].shape) - want[name]).max() / max(1.0, np.abs(want[name]).max())
        print(f"{case} {name}: largest difference {error:.1e}")
        assert error <= TOLERANCE.get(name.partition("/")[2], OTHERS), name


@pytest.mark.parametrize("source", ["pytorch", "jax"])
@pytest.mark.parametrize("case", NAMED)
def test_weights_by_their_names_are_those_of_the_file(case, source, sweep):
    """Every name that a checkpoint of this model would have is known, and none is missing."""
    if source == "jax" and case in JAX_FAILS:
        pytest.skip(JAX_FAILS[case])
    config, want = read_model(read_model_tree(sweep / f"{case}.dp"))
    _, got = read_weights(config.raw, dict(np.load(sweep / f"{case}.{source}.npz")))
    if source == "pytorch" and case in PYTORCH_FAILS:
        want["stats"]["fitting_net"]["constant_matrix"] = np.zeros(2)  # which it does not store
    for (path, one), other in zip(jax.tree_util.tree_leaves_with_path(want), jax.tree.leaves(got), strict=True):
        if source == "jax" and "embedding" in jax.tree_util.keystr(path) and not np.any(other):
            assert (
                case.startswith("se_e3") or case in UNUSED_NETWORKS
            )  # zero in the file that DeePMD-kit makes of it, too
            continue
        np.testing.assert_array_equal(other, one, err_msg=jax.tree_util.keystr(path))
        assert other.dtype == one.dtype
