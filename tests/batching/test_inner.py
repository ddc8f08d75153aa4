"""Places for neighbours within shorter cut-offs: as many as there are, and results do not depend on them."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from dpjax.batching import choose_layout, pack
from dpjax.batching.inner import InnerCut, InnerSizes, inner_places, most_inner
from dpjax.config import parse_model
from dpjax.descriptors.facts import inner_cuts
from dpjax.models import predict
from tests.batching.test_packing import FRAMES
from tests.contracts.cases import dpa2, dpa3, hybrid, model, potential, se_atten

CUTS = (InnerCut(1.9, 100), InnerCut(2.4, 5))


def by_hand(frame, rcut: float) -> int:
    """Neighbours that an atom has at most, over all pairs of atoms and all cells near."""
    shifts = np.array(list(np.ndindex(7, 7, 7))) - 3 if frame.cell is not None else np.zeros((1, 3))
    images = shifts @ (np.zeros((3, 3)) if frame.cell is None else frame.cell)
    real = frame.coord[frame.atype >= 0]
    dist = np.linalg.norm(real[None, :, None] + images - real[:, None, None], axis=-1)
    return int(np.sum((dist < rcut) & (dist > 1e-9), axis=(1, 2)).max())


def test_the_most_neighbours_within_each_cutoff():
    for frame in FRAMES:
        assert most_inner(CUTS, frame).tolist() == [by_hand(frame, 1.9), by_hand(frame, 2.4)]
    assert len({by_hand(frame, 2.4) for frame in FRAMES}) > 1


def test_a_neighbour_at_the_cutoff_has_a_place():
    frame = FRAMES[0]
    shortest = float(np.linalg.norm(frame.table.displacements(frame.coord, frame.cell), axis=1).min())
    assert most_inner([InnerCut(shortest * (1 - 1e-15), 9)], frame) >= 1


def test_no_more_places_than_are_kept_and_one_at_least():
    assert inner_places(CUTS, [0, 4]).tolist() == [1, 4]
    assert inner_places(CUTS, [33, 33]).tolist() == [36, 5]
    assert inner_places(CUTS, [33, 33], 8).tolist() == [40, 5]


def test_places_of_a_layout_only_grow_but_not_those_of_a_batch_alone():
    layout, sizes = choose_layout(FRAMES, 1), InnerSizes((InnerCut(2.9, 100),))
    sparse, dense = sorted(FRAMES, key=lambda frame: int(most_inner(sizes.cuts, frame)[0]))[:: len(FRAMES) - 1]
    few, many = (sizes.alone(layout, [frame]).inner for frame in (sparse, dense))
    assert few < many
    assert [sizes.added(layout, [frame]).inner for frame in (sparse, dense, sparse)] == [few, many, many]
    other = replace(layout, frames=layout.frames + 1)
    assert sizes.added(other, [sparse]).inner == few, "another layout starts anew"
    assert sizes.alone(layout, [sparse]).inner == few


THREE_BODY = {"use_three_body": True, "three_body_neuron": [3], "three_body_rcut": 2.0, "three_body_sel": 12}
MODELS = {
    "dpa2": dpa2(outer=THREE_BODY),
    "dpa2 truncated": dpa2({"nsel": 4}, THREE_BODY | {"three_body_sel": 2}),
    "dpa2 not smooth": dpa2(smooth=False),
    "dpa2 without gate": dpa2({"attn2_has_gate": False, "update_h2": True}),
    "dpa3": dpa3(),
    "dpa3 in a hybrid": hybrid(se_atten(rcut=2.5), dpa3(), dpa2()),
}


def test_cuts_of_a_descriptor():
    def cuts(descriptor: dict) -> list[tuple[float, int]]:
        return [(cut.rcut, cut.sel) for cut in inner_cuts(parse_model(model(descriptor)).descriptor)]

    assert cuts(dpa2()) == [(2.8, 40)]
    assert cuts(MODELS["dpa2"]) == [(2.0, 12), (2.8, 40)]
    assert cuts(dpa3({"a_rcut": 3.0})) == [], "that is what the table reaches"
    assert cuts(dpa3()) == [(2.4, 40)]
    assert cuts(dpa3({"use_dynamic_sel": True})) == [], "its angles are listed"
    assert cuts(MODELS["dpa3 in a hybrid"]) == [(2.4, 40), (2.8, 40)]


@pytest.mark.parametrize(
    "name", [name if name in ("dpa2", "dpa3") else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_results_do_not_depend_on_the_places(name):
    pot = potential(model(MODELS[name]))
    frames = [replace(frame, fparam=None, aparam=None) for frame in FRAMES]
    plain = choose_layout(frames, 1)
    fitted = InnerSizes(inner_cuts(pot.config.descriptor)).alone(plain, frames)
    assert fitted.inner
    with jax.enable_x64(True):
        run = jax.jit(lambda batch: predict(pot.model, pot.variables, batch))
        full, short = (run(pack(frames, layout)[0]) for layout in (plain, fitted))
    for key, value in full.items():
        np.testing.assert_allclose(short[key], value, rtol=0, atol=1e-11 * max(1.0, np.abs(value).max()), err_msg=key)
