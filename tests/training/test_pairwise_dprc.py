"""Training of DPRc models: statistics of terms, the bias of QM atoms, whole runs, and the inputs in ``configs``."""

from __future__ import annotations

import copy
import json
import logging

import jax
import numpy as np
import pytest

import dpjax
from dpjax import config
from dpjax.errors import DataError
from dpjax.interfaces.bias import change_bias
from dpjax.neighbors import search
from dpjax.statistics import Moments, frame_moments
from dpjax.training.environment import environment_blocks
from dpjax.training.setup import prepare
from tests.shared import REPOSITORY
from tests.training import tiny

TYPES = np.array([0, 1, 1, 0, 1, 1, 0, 1])
NUMBERS = np.array(
    [[0, 0, 1, 2, 2, -1, 0, 1], [5, 5, 3, 3, 3, 3, 9, 9], [0, 0, 0, 0, 1, 1, 1, 1], [0, 1, 2, 3, 4, 5, 6, 7]]
)
NET = {
    "descriptor": {
        "type": "se_atten_v2", "rcut": 3.0, "rcut_smth": 1.0, "sel": "auto", "neuron": [4, 8], "axis_neuron": 2,
        "attn_layer": 0, "set_davg_zero": False,
    },
    "fitting_net": {"neuron": [6, 6], "seed": 1},
}  # fmt: skip
ALONE = [0.25, -0.5]  # eV, in every term


def section(**edits) -> dict:
    """A DPRc model whose parts have cut-offs of their own."""
    qm, qmmm = copy.deepcopy(NET), copy.deepcopy(NET)
    qmmm["descriptor"]["rcut"] = 2.7
    qmmm["fitting_net"]["atom_ener"] = ALONE
    vectors = {"neuron": [3], "seed": 2}
    return {
        "type": "pairwise_dprc",
        "type_map": ["O", "H"],
        "type_embedding": vectors,
        "qm_model": qm,
        "qmmm_model": qmmm,
    } | edits


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    arrays = tiny.arrays(TYPES, 4, 0)
    return tiny.write(tmp_path_factory.mktemp("dprc") / "system", TYPES, [arrays | {"aparam": NUMBERS.astype(float)}])


def given(system, edits: dict | None = None, **model) -> dict:
    return tiny.config([system], {"model": section(**model)} | tiny.ENERGY_ONLY | (edits or {}))


def frames(system):
    """(4, n, 3) coordinates, cells, energies, and which atoms are in the QM region and in fragments."""
    arrays = {name: np.load(system / "set.000" / f"{name}.npy") for name in ("coord", "box", "energy", "aparam")}
    number = arrays["aparam"]
    first = np.where(number >= 0, number, np.inf).min(axis=1, keepdims=True)
    return arrays["coord"].reshape(4, -1, 3), arrays["box"].reshape(4, 3, 3), arrays["energy"], number, number == first


def test_statistics_are_those_of_terms(system):
    setup = prepare(config.load(given(system)))
    coord, cell, _, number, qm = frames(system)
    for i, part in enumerate(setup.config.model.parts):
        (block,) = environment_blocks(part.descriptor, part).values()
        total, most = Moments.zero(2), 0
        for x, box, own, core in zip(coord, cell, number, qm, strict=True):
            whole = search(x, TYPES, 2, 3.0, box)
            for f in [None] if i == 0 else np.unique(own[(own >= 0) & ~core]):
                members = core | (own == f)
                table = search(x[members], TYPES[members], 2, part.descriptor.rcut, box)
                most = max(most, table.count.sum(axis=1).max())
                if f is None or np.any(core[whole.centre()] & (own[whole.index] == f)):
                    total = total + frame_moments(x[members], box, TYPES[members], table, block.view)
        found = setup.variables["stats"][f"parts_{i}"]["descriptor"]
        np.testing.assert_allclose(found["davg"], total.davg(), atol=1e-12)
        np.testing.assert_allclose(found["dstd"], total.dstd(), atol=1e-9)
        assert part.descriptor.sel == 4 * -(-int(1.1 * most) // 4)  # "auto" counts in terms, too


def test_the_bias_is_that_of_qm_atoms(system):
    setup = prepare(config.load(given(system)))
    _, _, energy, number, qm = frames(system)
    counts = np.stack([np.bincount(TYPES[own], minlength=2) for own in qm])
    n_fragment = [len(np.unique(own[(own >= 0) & ~core])) for own, core in zip(number, qm, strict=True)]
    rest = np.stack([np.bincount(TYPES[(own >= 0) & ~core], minlength=2) for own, core in zip(number, qm, strict=True)])
    alone = (rest + np.array(n_fragment)[:, None] * counts) @ ALONE
    want = np.linalg.lstsq(counts, energy.ravel() - alone, rcond=None)[0]
    stats = setup.variables["stats"]
    np.testing.assert_allclose(stats["out_bias"][:, 0], want, atol=1e-9)
    np.testing.assert_array_equal(stats["parts_1"]["out_bias"][:, 0], ALONE)
    assert not stats["parts_0"]["out_bias"].any()


def test_energies_of_single_qm_atoms_may_be_given(system):
    qm = copy.deepcopy(NET)
    qm["fitting_net"]["atom_ener"] = [None, -1.25]
    bias = prepare(config.load(given(system, qm_model=qm))).variables["stats"]["out_bias"][:, 0]
    assert bias[1] == -1.25 and bias[0] != 0.0


def test_a_short_sel_is_reported(system, caplog):
    qmmm = copy.deepcopy(NET)
    qmmm["descriptor"]["sel"] = 2
    with caplog.at_level(logging.WARNING):
        prepare(config.load(given(system, qmmm_model=qmmm)))
    assert any("model/qmmm_model: in a term an atom has" in r.getMessage() for r in caplog.records)


def test_wrong_numbers_of_fragments_are_named(tmp_path):
    arrays = tiny.arrays(TYPES, 2, 0) | {"aparam": NUMBERS[:2] + 0.5}
    data = tiny.write(tmp_path / "system", TYPES, [arrays])
    with pytest.raises(DataError, match="aparam of atom 0 is 0.5; expected the number of its fragment"):
        prepare(config.load(given(data)))


@pytest.fixture(scope="module")
def trained(system, tmp_path_factory):
    """Input, folder and result of six steps on energies, with a checkpoint after three."""
    folder = tmp_path_factory.mktemp("trained")
    data = given(system, {"training/change_bias_after_training": True})
    return data, folder, dpjax.train(data, folder)


def residuals(pot, system) -> tuple[np.ndarray, np.ndarray]:
    """(4, 2) QM atoms of each type and (4,) energies of the data minus those of the model."""
    coord, cell, energy, number, qm = frames(system)
    out = pot.evaluate(coord, TYPES, cell, aparam=number[..., None])["energy"][:, 0]
    return np.stack([np.bincount(TYPES[own], minlength=2) for own in qm]), energy.ravel() - out


@pytest.mark.slow
def test_all_networks_are_trained(trained):
    _, folder, result = trained
    assert result.steps == 6
    data, written = trained[0], json.loads((folder / "out.json").read_text())
    fresh = dpjax.build(written["model"], seed=data["training"]["seed"]).variables["params"]
    same = jax.tree.map(np.array_equal, dpjax.load(folder).variables["params"], fresh)
    kept = [[key.key for key in path] for path, flag in jax.tree_util.tree_flatten_with_path(same)[0] if flag]
    assert [(path[0], path[-1]) for path in kept] == [
        ("parts_1", "bias")
    ]  # of the last layer, which atom_ener takes out


@pytest.mark.slow
def test_the_bias_is_changed_by_what_is_left_for_qm_atoms(trained, system, tmp_path):
    """After a least-squares fit nothing is left along the numbers of QM atoms: at the end of a training, and by `change-bias`."""
    counts, left = residuals(dpjax.load(trained[1]), system)
    np.testing.assert_allclose(counts.T @ left, 0.0, atol=1e-9)
    change_bias(trained[1], tmp_path / "set", str(system), mode="set")
    change_bias(tmp_path / "set", tmp_path / "changed", str(system))
    counts, left = residuals(dpjax.load(tmp_path / "changed"), system)
    np.testing.assert_allclose(counts.T @ left, 0.0, atol=1e-9)


@pytest.mark.slow
def test_a_restart_repeats_the_run(trained, tmp_path):
    data, folder, _ = trained
    dpjax.train(data, tmp_path, restart=folder / "model.ckpt-3")
    for own, other in zip(
        jax.tree.leaves(dpjax.load(tmp_path).variables), jax.tree.leaves(dpjax.load(folder).variables), strict=True
    ):
        np.testing.assert_allclose(own, other, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_another_model_to_start_from(trained, system, tmp_path, caplog):
    data = given(system, {"training/numb_steps": 1})
    data["model"]["qmmm_model"]["descriptor"]["rcut"] = 2.6
    with caplog.at_level(logging.WARNING):
        dpjax.train(data, tmp_path, init_model=trained[1])
    assert any("model/qmmm_model/descriptor/rcut: found 2.6" in r.getMessage() for r in caplog.records)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dprc", "pairwise_dprc"])
def test_shipped_inputs_train(name, tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    data = json.loads((REPOSITORY / "configs" / f"{name}.json").read_text())
    data["training"] |= {"numb_steps": 20, "disp_freq": 10, "save_freq": 20}
    result = dpjax.train(data, tmp_path)
    assert result.steps == 20
    pot, folder = dpjax.load(tmp_path), REPOSITORY / "examples" / "dprc" / "valid" / "waters_5"
    types = np.array((folder / "type.raw").read_text().split(), int)
    coord = np.load(folder / "set.000" / "coord.npy").reshape(-1, len(types), 3).astype(float)[:2]
    fragment = np.load(folder / "set.000" / "aparam.npy")[:2, :, None]
    inputs = {"aparam": fragment} if name == "pairwise_dprc" else {}
    bonded = pot.evaluate(coord, types, **inputs)["energy"]
    apart = coord + np.where(fragment > 0, 100.0 * fragment, 0.0)  # every molecule by itself
    alone = pot.evaluate(apart[:1], types, **{key: value[:1] for key, value in inputs.items()}, atomic=True)
    assert np.isfinite(bonded).all()
    water = fragment[0, :, 0] > 0
    np.testing.assert_allclose(
        alone["atom_energy"][0, water], 0.0, atol=1e-12
    )  # no correction where there is no QM region
    np.testing.assert_allclose(alone["force"][0, water], 0.0, atol=1e-12)
