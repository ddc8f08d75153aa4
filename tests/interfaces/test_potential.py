"""``Potential.evaluate`` and the doors around it: shapes, mistakes, settings, files."""

from __future__ import annotations

import logging

import jax
import numpy as np
import pytest

import dpjax
from dpjax.errors import DataError, ModelError
from tests.contracts.cases import model, potential, se_e2_a
from tests.contracts.structures import make

SECTION = model(se_e2_a())
A, B = make("crystal", seed=1), make("cluster", numbers=(2, 3), seed=2)


@pytest.fixture(scope="module")
def pot() -> dpjax.Potential:
    return potential(SECTION)


@pytest.fixture(scope="module")
def with_parameters() -> dpjax.Potential:
    return potential(model(se_e2_a(), fitting={"numb_fparam": 2, "numb_aparam": 1, "default_fparam": [0.5, -1.0]}))


def both(pot, **options):
    return pot.evaluate([A.coord, B.coord], [A.atype, B.atype], [A.cell, B.cell], atomic=True, **options)


@pytest.fixture(scope="module")
def ragged(pot) -> dict:
    return both(pot)


PAIR = np.stack([A.coord, A.coord + 0.1]), np.stack([A.cell] * 2)


@pytest.fixture(scope="module")
def pair(pot) -> dict:
    """Two frames of one size."""
    return pot.evaluate(PAIR[0], A.atype, PAIR[1], atomic=True)


def test_rectangular_input_gives_arrays(pot, pair):
    shapes = {"energy": (2, 1), "force": (2, 11, 3), "virial": (2, 9)}
    shapes |= {"atom_energy": (2, 11, 1), "atom_virial": (2, 11, 9), "mask": (2, 11)}
    assert {key: value.shape for key, value in pair.items()} == shapes
    assert all(type(value) is np.ndarray for value in pair.values())
    coord, cell = PAIR
    lists = pot.evaluate(coord.tolist(), A.atype.tolist(), cell.tolist(), atomic=True)  # numbers in lists are one array
    per_frame = pot.evaluate(coord, np.stack([A.atype] * 2), cell.reshape(2, 9), atomic=True)
    for key in shapes:
        assert isinstance(lists[key], np.ndarray)
        np.testing.assert_array_equal(lists[key], pair[key])
        np.testing.assert_array_equal(per_frame[key], pair[key])


def test_frames_of_several_sizes_give_lists(ragged, pair):
    assert [f.shape for f in ragged["force"]] == [(11, 3), (5, 3)]
    assert [e.shape for e in ragged["energy"]] == [(1,), (1,)]
    for key, value in pair.items():
        np.testing.assert_allclose(ragged[key][0], value[0], atol=1e-13, err_msg=key)


def test_many_frames_are_cut_into_batches_of_one_layout(pot, pair):
    """Frames two by two; the last one fits into the program of the others, which a second evaluation uses again."""
    order = [0, 1, 0, 1, 0]
    for _ in range(2):
        got = pot.evaluate(PAIR[0][order], A.atype, [A.cell] * 5, atomic=True, atoms_per_batch=22)
        assert [layout.frames >= 2 for layout in pot._programs.layouts.known] == [True]
        for key in pair:
            np.testing.assert_allclose(got[key], pair[key][order], atol=1e-13)


def test_masks_name_what_counts():
    pot = potential(model(se_e2_a(), atom_exclude_types=[0]))
    out = pot.evaluate(np.concatenate([B.coord, [[9.0, 9, 9]]])[None], np.append(B.atype, -1), atomic=True)
    np.testing.assert_array_equal(out["mask"][0], np.append(B.atype == 1, False))
    np.testing.assert_array_equal(out["atom_energy"][0, :, 0] != 0, out["mask"][0] == 1)


@pytest.mark.parametrize("n_atom", [0, 2])
def test_a_frame_without_atoms_has_no_energy(pot, n_atom):
    out = pot.evaluate(np.zeros((1, n_atom, 3)), np.full(n_atom, -1), atomic=True)
    assert out["energy"].tolist() == [[0.0]]
    assert out["force"].shape == (1, n_atom, 3) and not out["force"].any() and not out["virial"].any()


def test_no_frames_give_no_results(pot):
    out = pot.evaluate(np.zeros((0, 4, 3)), np.zeros(4, int))
    assert {key: value.shape for key, value in out.items()} == {"energy": (0, 1), "force": (0, 4, 3), "virial": (0, 9)}
    assert len(pot.evaluate([], [], atomic=True)["atom_virial"]) == 0


def test_the_users_jax_settings_neither_matter_nor_change(ragged):
    with jax.enable_x64(False):
        got = both(potential(SECTION))
        assert not jax.config.jax_enable_x64
    for key in ragged:
        np.testing.assert_array_equal(got[key][0], ragged[key][0])


def test_absent_frame_parameters_take_their_default(with_parameters):
    frame = {"coord": B.coord[None], "atype": B.atype, "aparam": np.ones((1, 5, 1))}
    want = with_parameters.evaluate(**frame, fparam=[[0.5, -1.0]])
    np.testing.assert_array_equal(with_parameters.evaluate(**frame)["energy"], want["energy"])
    other = with_parameters.evaluate(**frame, fparam=[[0.5, 1.0]])
    assert abs(other["energy"] - want["energy"]).max() > 1e-6


def test_each_truncation_is_reported_once(caplog):
    pot = potential(model(se_e2_a(sel=[1, 2])))
    with caplog.at_level(logging.WARNING, logger="dpjax"):
        both(pot)
        first = len(caplog.messages)
        both(pot)
    assert first == len(caplog.messages) == 2  # one for each type
    assert "neighbours of type O within 3 angstrom, but sel keeps 1" in caplog.text


def swap(**changes):
    return {"coord": A.coord[None], "atype": A.atype, "cell": A.cell[None]} | changes


def at(array, index, value):
    out = np.array(array, float)
    out[index] = value
    return out[None]


MISTAKES = {
    "one frame without its axis": (swap(coord=A.coord), r"coord: found shape \(11, 3\).*coord\[None\]"),
    "missing types": (swap(atype=A.atype[:5]), r"atype of frame 0: found int64 of shape \(5,\)"),
    "fractional types": (swap(atype=A.atype + 0.5), "expected integers"),
    "unknown type": (
        swap(atype=np.where(A.atype == 1, 2, 0)),
        r"found types 0..2, expected -1 \(placeholder\) or 0..1",
    ),
    "negative type": (swap(atype=A.atype - 2), "expected -1"),
    "a cell for each of two frames": (swap(cell=np.stack([A.cell] * 2)), "cell: found 2 frames, expected 1"),
    "short cell": (swap(cell=np.ones((1, 5))), "cell of frame 0"),
    "NaN": (swap(coord=at(A.coord, (3, 1), np.nan)), "frame 0: the coordinates of atom 3"),
    "two atoms on one point": (swap(coord=at(A.coord, 4, A.coord[2])), "frame 0: atoms 2 and 4 are on one point"),
    "flat cell": (swap(cell=np.zeros((1, 3, 3))), "frame 0: the cell .* has no volume"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_wrong_data_are_named(pot, what):
    arguments, message = MISTAKES[what]
    with pytest.raises(DataError, match=message):
        pot.evaluate(**arguments)


def test_parameters_a_model_does_not_take_are_refused(pot):
    for name in ("fparam", "aparam"):
        with pytest.raises(ModelError, match=f"{name} was given but this model has no"):
            pot.evaluate(**swap(), **{name: np.ones((1, 11, 1))})
    for name in ("charge_spin", "spin"):
        with pytest.raises(ModelError, match=f"{name} was given"):
            pot.evaluate(**swap(), **{name: np.ones((1, 2))})


def test_parameters_a_model_needs_are_asked_for(with_parameters):
    with pytest.raises(ModelError, match=r"needs aparam of shape \(n_frame, n_atom, 1\)"):
        with_parameters.evaluate(**swap())
    for wrong in ({"fparam": np.ones((1, 3))}, {"aparam": np.ones((1, 10, 1))}, {"aparam": np.ones((2, 11, 1))}):
        with pytest.raises(DataError, match=next(iter(wrong))):
            with_parameters.evaluate(**swap(), **{"aparam": np.ones((1, 11, 1))} | wrong)


def test_a_potential_says_what_it_is(pot):
    assert pot.type_map == ["O", "H"]
    assert pot.rcut == 3.0
    assert "se_e2_a" in repr(pot) and "['O', 'H']" in repr(pot)
    with pytest.raises(ModelError, match="conventions: found 'right'"):
        dpjax.Potential(pot.config, pot.variables, conventions="right")


def test_a_saved_potential_gives_the_same_bits(pot, ragged, tmp_path):
    dpjax.save(pot, tmp_path / "model.dp")
    again = dpjax.load(tmp_path / "model.dp")
    assert (pot.conventions, again.conventions) == ("corrected", "reference")
    assert dpjax.load(tmp_path / "model.dp", conventions="corrected").conventions == "corrected"
    for key, rows in both(again).items():
        for got, row in zip(rows, ragged[key]):
            np.testing.assert_array_equal(got, row)


def test_building_is_seeded():
    def parameters(section, seed):
        return np.concatenate(
            [np.ravel(x) for x in jax.tree.leaves(dpjax.build(section, seed=seed).variables["params"])]
        )

    unseeded = model(se_e2_a(seed=None), fitting={"seed": None})
    first = parameters(unseeded, 0)
    np.testing.assert_array_equal(first, parameters(unseeded, 0))
    assert np.abs(first - parameters(unseeded, 1)).min() > 0
    np.testing.assert_array_equal(parameters(SECTION, 0), parameters(SECTION, 1))  # the sections' own seeds win


def test_what_cannot_be_loaded_is_named(pot, tmp_path):
    (tmp_path / "notes.txt").write_text("words")
    dpjax.save(pot, tmp_path / "model.dp")
    for name, options, message in (
        ("absent.dp", {}, "no such model file"),
        ("absent", {}, "no such file or folder"),
        ("notes.txt", {}, "not a model this version reads"),
        (".", {}, "'checkpoint'"),
        ("model.dp", {"head": "water"}, "head 'water'"),
    ):
        with pytest.raises(ModelError, match=message):
            dpjax.load(tmp_path / name, **options)
    with pytest.raises(ModelError, match="unknown model format"):
        dpjax.save(pot, tmp_path / "model.txt")
