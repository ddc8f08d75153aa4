"""What physics asks of every model: invariance, covariance, additivity."""

from __future__ import annotations

import numpy as np
import pytest

from tests.contracts.structures import rotation

TIGHT = 1e-11


def same(actual, desired, tolerance=TIGHT):
    for key in desired:
        np.testing.assert_allclose(actual[key], desired[key], rtol=0, atol=tolerance, err_msg=key)


def test_the_model_feels_every_input(bench):
    """Guards the suite: a model that ignores its neighbours would pass everything below."""
    s = bench.structure()
    moved = s.replace(coord=s.coord + 0.05 * np.random.default_rng(0).normal(size=s.coord.shape))
    variants = [s, moved]
    if s.fparam is not None:
        variants += [s.replace(fparam=s.fparam + 0.1), s.replace(aparam=s.aparam + 0.1)]
    energies = [out["energy"].item() for out in bench(*variants)]
    assert min(abs(e - energies[0]) for e in energies[1:]) > 1e-4
    assert np.abs(bench(s)[0]["force"]).min() > 1e-6


def test_translation_changes_nothing(bench, kind):
    s = bench.structure(kind)
    want, got = bench(s, s.replace(coord=s.coord + np.array([7.3, -21.9, 0.4])))
    same(got, want)


def test_whole_cell_vectors_may_be_added_to_any_atom(bench):
    s = bench.structure()
    whole = np.random.default_rng(3).integers(-2, 3, s.coord.shape)
    want, got = bench(s, s.replace(coord=s.coord + whole @ s.cell))
    same(got, want)


def test_rotation_turns_forces_and_virials(bench, kind):
    s, turn = bench.structure(kind), rotation(np.random.default_rng(5))
    want, got = bench(s, s.mapped(turn))

    def turned(virial):
        return np.einsum("...ab,ac,bd->...cd", virial.reshape(-1, 3, 3), turn, turn).reshape(virial.shape)

    same(got, want | {"force": want["force"] @ turn} | {k: turned(want[k]) for k in ("virial", "atom_virial")})


def test_the_order_of_atoms_does_not_matter(bench, kind):
    s = bench.structure(kind)
    order = np.random.default_rng(4).permutation(len(s.coord))
    want, got = bench(s, s.take(order))
    same(got, {k: want[k][order] if k in ("force", "atom_energy", "atom_virial") else want[k] for k in want})


def test_parts_add_up(bench, kind):
    out = bench(bench.structure(kind))[0]
    np.testing.assert_allclose(out["atom_energy"].sum(), out["energy"][0], atol=TIGHT)
    np.testing.assert_allclose(out["atom_virial"].sum(axis=0), out["virial"], atol=TIGHT)
    np.testing.assert_allclose(out["force"].sum(axis=0), 0.0, atol=TIGHT)


def test_virial_is_symmetric(bench, kind):
    """No torque: the energy does not change under rotation."""
    virial = bench(bench.structure(kind))[0]["virial"].reshape(3, 3)
    np.testing.assert_allclose(virial, virial.T, atol=TIGHT)


def test_a_cluster_has_the_virial_of_its_forces(bench):
    s = bench.structure("cluster")
    out = bench(s)[0]
    np.testing.assert_allclose(out["virial"].reshape(3, 3), out["force"].T @ s.coord, atol=TIGHT)


@pytest.mark.parametrize("axis", [0, 2])
def test_two_cells_hold_twice_the_energy(bench, axis):
    s = bench.structure()
    double = s.joined(s.replace(coord=s.coord + s.cell[axis]))
    double = double.replace(cell=s.cell * np.where(np.arange(3) == axis, 2.0, 1.0)[:, None])
    want, got = bench(s, double)
    same(
        got,
        {key: 2.0 * want[key] for key in ("energy", "virial")}
        | {key: np.concatenate([want[key]] * 2) for key in ("force", "atom_energy", "atom_virial")},
    )


def test_far_clusters_do_not_see_each_other(bench):
    a, b = bench.structure("cluster", seed=1), bench.structure("cluster", seed=2)
    b = b.replace(fparam=a.fparam, coord=b.coord + 50.0)
    first, second, both = bench(a, b, a.joined(b))
    same({"energy": both["energy"]}, {"energy": first["energy"] + second["energy"]})
    same({"force": both["force"]}, {"force": np.concatenate([first["force"], second["force"]])})


def test_frames_do_not_see_each_other(bench):
    """Frames of several sizes, some periodic, give together what each gives alone."""
    sizes = [(4, 7), (1, 2), (3, 0), (6, 9)]
    frames = [bench.structure(("crystal", "cluster")[i % 2], numbers=n, seed=i) for i, n in enumerate(sizes)]
    for got, frame in zip(bench(*frames), frames, strict=True):
        same(got, bench(frame)[0], 1e-13)


def test_placeholders_are_not_there(bench, kind):
    s = bench.structure(kind)
    rng = np.random.default_rng(8)
    holes = s.replace(coord=rng.uniform(0, 5, s.coord.shape), atype=np.full_like(s.atype, -1))
    mixed, order = s.joined(holes), rng.permutation(2 * len(s.coord))
    want, got = bench(s, mixed.take(order))
    real = order < len(s.coord)
    for key in ("force", "atom_energy", "atom_virial"):
        assert not got[key][~real].any()
        np.testing.assert_allclose(got[key][real], want[key][order[real]], atol=TIGHT)
    same({"energy": got["energy"], "virial": got["virial"]}, {"energy": want["energy"], "virial": want["virial"]})
