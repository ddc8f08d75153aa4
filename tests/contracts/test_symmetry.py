"""What physics asks of every model: invariance, covariance, additivity."""

from __future__ import annotations

import numpy as np
import pytest

from tests.contracts.outputs import has_force, of_frames, only, per_atom, repeated, summed, turned, turning
from tests.contracts.structures import rotation

TIGHT = 1e-11


def same(actual, desired, tolerance=TIGHT):
    for key in desired:
        np.testing.assert_allclose(actual[key], desired[key], rtol=0, atol=tolerance, err_msg=key)


def placeless(bench, out: dict) -> dict:
    """The outputs that do not depend on where a structure lies in its cell: without ``atom_virial`` where messages pass.

    DeePMD-kit takes it from positions within the cell there; ``dpjax/models/virials.py`` says how.
    """
    return {key: value for key, value in out.items() if key != "atom_virial" or not bench.model.passes_messages}


def test_the_model_feels_every_input(bench):
    """Guards the suite: a model that ignores its neighbours would pass everything below."""
    s = bench.structure()
    moved = s.replace(coord=s.coord + 0.05 * np.random.default_rng(0).normal(size=s.coord.shape))
    variants = [s, moved]
    given = {name: getattr(s, name) for name in ("fparam", "aparam", "spin") if getattr(s, name) is not None}
    if bench.case.whole:  # which atoms are real
        variants.append(s.replace(aparam=1.0 - given.pop("aparam")))
    if bench.case.in_fragments:  # all of them one
        variants.append(s.replace(aparam=np.minimum(given.pop("aparam"), 1.0)))
    variants += [s.replace(**{name: value + 0.1}) for name, value in given.items()]
    if s.charge_spin is not None:
        variants += [s.replace(charge_spin=s.charge_spin + step) for step in np.eye(2)]
    here, *others = bench(*variants)
    for out in others:
        changes = np.abs(summed(bench.output, out) - summed(bench.output, here))
        assert changes.max() > 1e-4
        assert changes.min() > 1e-6
    if has_force(bench.output):
        seen = s.aparam[:, 0] == 1.0 if bench.case.whole else slice(None)
        assert np.abs(here["force"][seen]).min() > 1e-6
    if "mask" in here:
        silent = np.isin(s.atype, bench.model.config.silent_types)
        assert len(np.unique(s.atype)) == len(bench.model.config.data_types)
        np.testing.assert_array_equal(here["mask"], ~silent)
        assert here["counted"] == np.sum(~silent)
        np.testing.assert_array_equal(here[bench.output.atomic].reshape(len(silent), -1).any(axis=1), ~silent)


def test_translation_changes_nothing(bench, kind):
    s = bench.structure(kind)
    want, got = bench(s, s.replace(coord=s.coord + np.array([7.3, -21.9, 0.4])))
    same(got, placeless(bench, want))


@only(case=lambda case: not case.whole)
def test_whole_cell_vectors_may_be_added_to_any_atom(bench):
    s = bench.structure()
    whole = np.random.default_rng(3).integers(-2, 3, s.coord.shape)
    want, got = bench(s, s.replace(coord=s.coord + whole @ s.cell))
    same(got, want)


def test_rotation_turns_forces_and_virials(bench, kind):
    """And vectors and matrices that are predicted, and their derivatives; numbers stay as they are."""
    s, turn = bench.structure(kind), rotation(np.random.default_rng(5), proper=bench.case.chiral)
    want, got = bench(s, s.turned(turn))
    same(got, turned(bench.output, want, turn))


@only(lambda output: len(output.shape) == 2)
def test_matrices_are_symmetric(bench, kind):
    out = bench(bench.structure(kind))[0]
    for name in (bench.output.total, bench.output.atomic):
        np.testing.assert_allclose(np.swapaxes(out[name], -1, -2), out[name], atol=1e-13, err_msg=name)


def test_the_order_of_atoms_does_not_matter(bench, kind):
    s = bench.structure(kind)
    order = np.random.default_rng(4).permutation(len(s.coord))
    want, got = bench(s, s.take(order))
    same(got, {k: want[k][order] if k in per_atom(bench.output) else want[k] for k in want})


def test_parts_add_up(bench, kind):
    out, output = bench(bench.structure(kind))[0], bench.output
    total = out[output.atomic].sum(axis=0)
    np.testing.assert_allclose(total.reshape(output.total_shape), summed(output, out), atol=TIGHT)
    if has_force(output):
        np.testing.assert_allclose(out["atom_virial"].sum(axis=0), out["virial"], atol=TIGHT)
        np.testing.assert_allclose(out["force"].sum(axis=0), 0.0, atol=TIGHT)


@only(has_force)
def test_virial_is_symmetric(bench, kind):
    """No torque: the energy does not change under rotation.  Of a vector, the torque is what turns it; spins turn with the rest."""
    s = bench.structure(kind)
    out = bench(s)[0]
    virial = out["virial"].reshape(*bench.output.shape, 3, 3)
    for generator in np.eye(9).reshape(9, 3, 3):
        generator = generator - generator.T
        torque = np.einsum("...ab,ba->...", virial, generator)
        if s.spin is not None:
            torque = torque + np.sum(out["force_mag"] * (s.spin @ generator))
        turn = turning(bench.output, out, generator).reshape(bench.output.shape)
        np.testing.assert_allclose(torque, -turn, atol=TIGHT)


@only(has_force)
def test_a_cluster_has_the_virial_of_its_forces(bench):
    s = bench.structure("cluster")
    out = bench(s)[0]
    want = np.einsum("i...a,ib->...ab", out["force"], s.coord)
    np.testing.assert_allclose(out["virial"].reshape(want.shape), want, atol=TIGHT)


@only(case=lambda case: not case.whole)
@pytest.mark.parametrize("axis", [0, 2])
def test_two_cells_hold_twice_the_energy(bench, axis):
    """Or twice of what else adds up, and the same of what does not."""
    s = bench.structure()
    double = s.joined(s.replace(coord=s.coord + s.cell[axis]))
    double = double.replace(cell=s.cell * np.where(np.arange(3) == axis, 2.0, 1.0)[:, None])
    want, got = bench(s, double)
    same(got, placeless(bench, repeated(bench.output, want, 2)))


@only(case=lambda case: not case.whole)
def test_far_clusters_do_not_see_each_other(bench):
    a, b = bench.structure("cluster", seed=1), bench.structure("cluster", seed=2)
    b = b.replace(fparam=a.fparam, coord=b.coord + 50.0)
    first, second, both = bench(a, b, a.joined(b))
    total, *parts = (summed(bench.output, out) for out in (both, first, second))
    np.testing.assert_allclose(total, sum(parts), rtol=0, atol=TIGHT)
    same(both, {key: np.concatenate([first[key], second[key]]) for key in both if key in per_atom(bench.output)})


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
    for key in want.keys() & set(per_atom(bench.output)):
        assert not got[key][~real].any()
        np.testing.assert_allclose(got[key][real], want[key][order[real]], atol=TIGHT)
    same(got, {key: want[key] for key in want if key in of_frames(bench.output)})
