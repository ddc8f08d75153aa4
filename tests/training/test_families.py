"""Every fitting on every descriptor that can feed it: trained, stored, loaded, saved for DeePMD-kit, frozen.

A spread of pairs with every descriptor and every fitting is quick to run; the other pairs are marked slow.
"""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

import dpjax
from dpjax.config import load
from dpjax.errors import ConfigError
from dpjax.export import Artifact, save
from dpjax.training.compile_cache import persistent_programs
from dpjax.training.setup import prepare
from tests.contracts.cases import hybrid, se_atten, se_e2_a, se_e2_r, se_e3, se_e3_tebd
from tests.export.frames import assert_close, only_fullest
from tests.training import tiny

TYPES = np.array([1, 0, 1, 1, 0, 1])
N_FRAME, NUMB_DOS = 4, 5

DESCRIPTORS = {
    "se_e2_a": se_e2_a(sel=[12, 20]),
    "se_e2_r": se_e2_r(sel=[12, 20]),
    "se_e3": se_e3(sel=[12, 20]),
    "se_e3_tebd": se_e3_tebd(sel=30),
    "se_atten": se_atten(sel=30),
    "se_atten_v2": se_atten(type="se_atten_v2", sel=30),
    "hybrid": hybrid(se_e2_a(sel=[12, 20], rcut=2.5, neuron=[6]), se_atten(sel=30, attn_layer=0)),
}
WITHOUT_VECTORS = ("se_e2_r", "se_e3", "se_e3_tebd")

FITTINGS = {  # the fitting net and its loss
    "ener": (
        {"type": "ener"},
        {"type": "ener"} | {f"{end}_pref_{of}": 1 for end in ("start", "limit") for of in ("e", "f")},
    ),
    "dos": (
        {"type": "dos", "numb_dos": NUMB_DOS},
        {"type": "dos"}
        | {f"{end}_pref_{of}": 1 for end in ("start", "limit") for of in ("dos", "cdf", "ados", "acdf")},
    ),
    "property": (
        {"type": "property", "property_name": "gap", "task_dim": 2, "intensive": True},
        {"type": "property", "loss_func": "mse"},
    ),
    "dipole": (
        {"type": "dipole", "sel_type": [0]},
        {"type": "tensor", "pref": 1, "pref_atomic": 1, "enable_atomic_weight": True},
    ),
    "polar": ({"type": "polar", "fit_diag": False}, {"type": "tensor", "pref": 1, "pref_atomic": 1}),
}
TENSORS = ("dipole", "polar")

PAIRS = [(d, f) for d in DESCRIPTORS for f in FITTINGS if not (d in WITHOUT_VECTORS and f in TENSORS)]
REFUSED = [(d, f) for d in WITHOUT_VECTORS for f in TENSORS]
QUICK = {  # forces, which take long to compile, where they are cheap
    ("se_e2_a", "dipole"),
    ("se_e2_r", "ener"),
    ("se_e3", "property"),
    ("se_e3_tebd", "dos"),
    ("se_atten", "polar"),
    ("se_atten_v2", "property"),
    ("hybrid", "polar"),
}


@pytest.fixture(scope="module")
def system(tmp_path_factory) -> Path:
    """A system with labels of everything; smooth numbers of no meaning."""
    rng, n_atom = np.random.default_rng(5), len(TYPES)
    sizes = {"dipole": 3, "polarizability": 9, "dos": NUMB_DOS}
    labels = {name: rng.normal(size=(N_FRAME, size)) for name, size in sizes.items()} | {
        f"atom_{name}": rng.normal(size=(N_FRAME, n_atom * size)) for name, size in sizes.items()
    }
    labels |= {"gap": rng.normal(size=(N_FRAME, 2)), "atom_weight": rng.uniform(0.5, 2.0, (N_FRAME, n_atom))}
    values = tiny.arrays(TYPES, N_FRAME, seed=0) | labels
    return tiny.write(tmp_path_factory.mktemp("families") / "system", TYPES, [values])


def config(system: Path, descriptor: str, fitting: str) -> dict:
    """An input that trains for one step."""
    net, loss = FITTINGS[fitting]
    edits = {"model/descriptor": DESCRIPTORS[descriptor], "model/fitting_net": {"neuron": [6, 6], "seed": 1} | net}
    edits |= {"loss": loss, "training/numb_steps": 1, "training/disp_freq": 1, "training/save_freq": 1}
    return tiny.config([system], edits)


def test_the_quick_pairs_have_every_descriptor_and_every_fitting():
    assert set(PAIRS) >= QUICK
    assert [{pair[i] for pair in QUICK} for i in (0, 1)] == [set(DESCRIPTORS), set(FITTINGS)]


@pytest.mark.parametrize(
    ("descriptor", "fitting"),
    [pair if pair in QUICK else pytest.param(*pair, marks=pytest.mark.slow) for pair in PAIRS],
)
def test_from_input_to_artifact(descriptor, fitting, system, tmp_path, monkeypatch):
    given = config(system, descriptor, fitting)
    start = prepare(load(given)).variables
    result = dpjax.train(given, tmp_path / "run")
    table = np.genfromtxt(tmp_path / "run" / "lcurve.out", names=True)
    assert table.size == 1
    assert all(np.isfinite(table[name]) for name in table.dtype.names)
    assert any(table[name] > 0 for name in table.dtype.names if name.startswith(("rmse", "mae")))

    pot = dpjax.load(tmp_path / "run")
    trained, before = (jax.tree_util.tree_leaves_with_path(tree["params"]) for tree in (pot.variables, start))
    same = [np.array_equal(a, b) for (_, a), (_, b) in zip(trained, before, strict=True)]
    assert result.steps == 1
    assert not all(same)
    frames = {"coord": tiny.positions(len(TYPES), 2, seed=9), "atype": TYPES, "cell": np.stack([tiny.CELL] * 2)}
    dpjax.save(pot, tmp_path / "model.dp")
    again = dpjax.load(tmp_path / "model.dp", conventions=pot.conventions)
    with persistent_programs(tiny.programs_folder()):  # equal programs, compiled once
        want, got = (model.evaluate(**frames, atomic=True) for model in (pot, again))
    assert_close(got, want, 1e-14, where=".dp")

    only_fullest(monkeypatch, pot.config)
    artifact = Artifact(save(pot, tmp_path / "model.dpx", platforms=["cpu"]))
    assert_close(artifact.evaluate(**frames, atomic=True), want, 1e-11, where=".dpx")


@pytest.mark.parametrize(("descriptor", "fitting"), REFUSED)
def test_tensors_need_vectors(descriptor, fitting, system):
    with pytest.raises(ConfigError, match=rf"model/fitting_net/type.*{fitting}.*{descriptor}") as caught:
        load(config(system, descriptor, fitting))
    assert len(str(caught.value).strip().splitlines()) <= 3
