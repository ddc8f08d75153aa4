"""DPRc models: numbers of DeePMD-kit's TensorFlow backend (3.2.0), and energies of terms that are evaluated one by one."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

import dpjax
from dpjax.data.fragments import fragment_numbers, qm_types, without_ignored
from dpjax.errors import DataError, ModelError
from dpjax.interfaces.jax_md import neighbor_fn_and_energy
from tests.contracts.cases import dprc, model, pairtab, potential, se_atten, se_e2_a, se_e2_r
from tests.contracts.structures import make
from tests.shared import golden, shared

OUTPUTS = {"energy": 1e-10, "atom_energy": 1e-10, "force": 1e-9, "virial": 1e-9, "atom_virial": 1e-9}
SECTION = dprc(se_e2_r(), se_atten(attn_layer=1, rcut=2.6, set_davg_zero=False))  # neither of which hides anything


def imported(folder) -> tuple[dpjax.Potential, dict[str, np.ndarray]]:
    """A reference model and its numbers."""
    section = json.loads((folder / "model.json").read_text())["model"]
    return dpjax.interop.from_weights(section, dict(np.load(folder / "weights.npz"))), dict(np.load(folder / "ref.npz"))


def check(folder) -> None:
    pot, want = imported(folder)
    given = {name: want[f"cluster/{name}"] for name in ("coord", "atype", "aparam")}
    got = pot.evaluate(**given, atomic=True)
    for name, tolerance in OUTPUTS.items():
        number = want[f"cluster/{name}"]
        size = max(1.0, np.abs(number).max())
        np.testing.assert_allclose(got[name].reshape(number.shape), number, rtol=0, atol=tolerance * size, err_msg=name)


def test_shipped():
    """Two frames in one call, which DeePMD-kit mixes up; a fragment cut in two, one out of order, and ignored atoms."""
    check(golden("tf", "pairwise_dprc"))


@pytest.mark.slow
def test_all():
    check(shared("golden", "tf", "pairwise_dprc_se_atten"))


def test_imported_models_have_no_periodic_images():
    pot, want = imported(golden("tf", "pairwise_dprc"))
    frame = {"coord": want["cluster/coord"][:1], "atype": want["cluster/atype"], "aparam": want["cluster/aparam"][:1]}
    with pytest.raises(DataError, match="cell of frame 0: .* without periodic images"):
        pot.evaluate(**frame, cell=20.0 * np.eye(3)[None])
    with pytest.raises(DataError, match="cell of frame 0: .* without periodic images"):
        neighbor_fn_and_energy(pot, 20.0, frame["atype"], aparam=frame["aparam"][0])


def test_every_name_is_needed():
    folder = golden("tf", "pairwise_dprc")
    section, weights = json.loads((folder / "model.json").read_text())["model"], dict(np.load(folder / "weights.npz"))
    with pytest.raises(ModelError, match="belong to neither part of a pairwise_dprc model.*: layer_0/matrix"):
        dpjax.interop.from_weights(section, weights | {"layer_0/matrix": np.zeros(1)})
    with pytest.raises(ModelError, match="1 names belong to nothing in the model: layer_7/matrix"):
        dpjax.interop.from_weights(section, weights | {"layer_7_qm/matrix": np.zeros(1)})
    del weights["final_layer_qmmm/bias"]
    with pytest.raises(ModelError, match="1 weights of the model are missing: final_layer/bias"):
        dpjax.interop.from_weights(section, weights)


def numbered(n_atom: int) -> np.ndarray:
    """(n_atom, 1) numbers that are neither in order nor without gaps: QM atoms have 2, one or two take no part."""
    return np.resize([2.0, 9.0, 2.0, 4.0, 9.0, -1.0, 7.0, 4.0, 2.0], n_atom)[:, None]


def part(pot: dpjax.Potential, i: int) -> dpjax.Potential:
    """A part of a model by itself."""
    own = {key: dict(tree[f"parts_{i}"]) for key, tree in pot.variables.items()}
    own["params"]["type_embedding"] = pot.variables["params"]["type_embedding"]
    section = pot.config.raw[("qm_model", "qmmm_model")[i]]
    whole = {"type_map": pot.type_map, "type_embedding": pot.config.raw["type_embedding"]}
    return dpjax.build(section | whole).with_variables(own)


def of_terms(pot: dpjax.Potential, s) -> dict[str, np.ndarray]:
    """The outputs of a structure from each term by itself."""
    number = s.aparam[:, 0]
    qm = number == number[number >= 0].min()
    terms = {0: [qm], 1: [qm | (number == f) for f in np.unique(number[(number >= 0) & ~qm])]}
    total = {"atom_energy": np.zeros((len(number), 1)), "force": np.zeros((len(number), 3)), "virial": np.zeros(9)}
    total["atom_energy"][qm, 0] = pot.variables["stats"]["out_bias"][s.atype[qm], 0]
    for i, sets in terms.items():
        frames = [s.coord[own] for own in sets], [s.atype[own] for own in sets], [s.cell] * len(sets)
        out = part(pot, i).evaluate(*frames, atomic=True)
        for j, members in enumerate(sets):
            for name in ("atom_energy", "force"):
                total[name][members] += out[name][j]
            total["virial"] += out["virial"][j]
    return total


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cluster", "crystal"])
def test_the_energy_is_the_sum_of_those_of_its_terms(kind):
    """In a cell thinner than the cut-off atoms see images of their own fragment, and QM atoms those of each other."""
    pot, s = potential(SECTION), make(kind, numbers=(5, 8))
    s = s.replace(aparam=numbered(len(s.coord)))
    cell = None if s.cell is None else s.cell[None]
    got, want = pot.evaluate(s.coord[None], s.atype, cell, aparam=s.aparam[None], atomic=True), of_terms(pot, s)
    for name, value in want.items():
        np.testing.assert_allclose(got[name][0], value, atol=1e-11, err_msg=name)
    assert not got["atom_energy"][0, s.aparam[:, 0] < 0].any()
    assert not got["force"][0, s.aparam[:, 0] < 0].any()


@pytest.mark.slow
def test_a_part_may_be_a_table():
    table = pairtab()
    pot = dpjax.build(dprc(se_e2_a(), se_e2_a()) | {"qmmm_model": table})
    s = make("cluster", numbers=(3, 4)).replace(aparam=np.array([[0.0], [0], [1], [1], [2], [2], [0]]))
    qm = s.aparam[:, 0] == 0
    own = dpjax.build({"type_map": ["O", "H"], **table})
    want = np.zeros(len(qm))
    for f in (1, 2):
        members = np.flatnonzero(qm | (s.aparam[:, 0] == f))
        want[members] += own.evaluate(s.coord[members][None], s.atype[members], atomic=True)["atom_energy"][0, :, 0]
    want[qm] += part(pot, 0).evaluate(s.coord[qm][None], s.atype[qm], atomic=True)["atom_energy"][0, :, 0]
    out = pot.evaluate(s.coord[None], s.atype, aparam=s.aparam[None], atomic=True)["atom_energy"][0, :, 0]
    np.testing.assert_allclose(out, want, atol=1e-12)


def test_what_the_numbers_of_fragments_may_be():
    types, number = np.array([0, 1, 1, -1, 1]), np.array([[7.0], [3.0], [-1.0], [0.0], [30.0]])
    np.testing.assert_array_equal(fragment_numbers(types, number), [1, 0, -1, -1, 2])
    np.testing.assert_array_equal(without_ignored(types, number), [0, 1, -1, -1, 1])
    np.testing.assert_array_equal(qm_types(types, number), [-1, 1, -1, -1, -1])
    for bad in (1.5, -2.0, np.nan):
        with pytest.raises(DataError, match="aparam of atom 1 is .*; expected the number of its fragment"):
            fragment_numbers(types, np.where(np.arange(5)[:, None] == 1, bad, number))


def test_bad_numbers_are_named():
    pot, s = potential(SECTION), make("cluster")
    with pytest.raises(DataError, match="frame 0: aparam of atom 0 is 0.5"):
        pot.evaluate(s.coord[None], s.atype, aparam=np.full((1, len(s.coord), 1), 0.5))
    with pytest.raises(ModelError, match="needs aparam"):
        pot.evaluate(s.coord[None], s.atype)


@pytest.mark.slow
def test_atoms_that_take_no_part_may_lie_on_one_point():
    pot, s = potential(SECTION), make("cluster")
    number = numbered(len(s.coord))
    ignored = number[:, 0] < 0
    moved = np.where(ignored[:, None], 0.0, s.coord)
    first, second = (pot.evaluate(x[None], s.atype, aparam=number[None])["energy"] for x in (s.coord, moved))
    np.testing.assert_allclose(first, second, atol=1e-12)


def test_fresh_models_have_one_table_of_type_vectors():
    section = SECTION | {"type_embedding": {"neuron": [3], "seed": 5}}
    pot, again = (dpjax.build(section, seed=seed) for seed in (1, 2))
    params = pot.variables["params"]
    assert sorted(params) == ["parts_0", "parts_1", "type_embedding"]
    assert sorted(params["parts_0"]) == sorted(params["parts_1"]) == ["descriptor", "fitting_net"]
    same = jax.tree.map(np.array_equal, params["type_embedding"], again.variables["params"]["type_embedding"])
    assert jax.tree.all(same)  # as they have a seed of their own


def test_type_vectors_are_those_of_tensorflow_where_the_input_gives_none():
    section = {key: value for key, value in SECTION.items() if key != "type_embedding"}
    given = dpjax.build(section).config.type_embedding
    assert (given.neuron, given.activation_function) == ((8,), "none")


def test_models_with_networks_for_one_type_each_have_sections_for_all():
    pot = dpjax.build(dprc(se_atten(attn_layer=0), se_e2_a()))
    assert pot.model.by_type
    assert pot.model.sel == (None, None)
    assert dpjax.build(dprc(se_atten(), se_atten())).model.sel == (None,)


def test_such_models_are_not_in_files_of_deepmd_kit(tmp_path):
    with pytest.raises(ModelError, match="model/type: only DeePMD-kit's TensorFlow backend"):
        dpjax.save(dpjax.build(SECTION), tmp_path / "model.dp")


def test_an_unnumbered_model_section_is_no_sum():
    assert dpjax.build(model(se_e2_a())).config.takes_fragments is False
