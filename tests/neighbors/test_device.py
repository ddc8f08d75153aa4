"""The device cell list equals the host search, flags what it cannot hold, and is compiled once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.batching import Frame, choose_layout, pack
from dpjax.config import parse_model
from dpjax.errors import CapacityError, DataError, NonFiniteError
from dpjax.models import build_model, init_variables, predict
from dpjax.neighbors import search
from dpjax.neighbors.device import BIN_FULL, CELL_SMALL, LIST_FULL, NOT_FINITE, _update, is_stale, update
from dpjax.neighbors.plan import allocate, grow, search_with_retry

CELLS = {
    "ortho": np.diag([9.0, 14.0, 21.0]),
    "triclinic": np.array([[13.0, 0.0, 0.0], [5.0, 12.0, 0.0], [-4.0, 6.0, 15.0]]),
    "thin": np.array([[2.1, 0.0, 0.0], [0.9, 6.3, 0.0], [-1.7, 2.2, 17.9]]),
    "left": np.diag([9.0, 14.0, 11.0])[[1, 0, 2]] + 0.2,
    "cluster": None,
}
EVERYWHERE = (True, True, True)


def structure(cell, n=60, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    frac = rng.uniform(-spread, 1 + spread, (n, 3))
    return frac @ (np.eye(3) * 5 if cell is None else cell), rng.integers(-1, 3, n).astype(np.int32)


def listed(neighbors, nbrs):
    """Edges of a device list, read the way batches are: by section and count."""
    index, shift, count = (np.asarray(a) for a in neighbors[:3])
    start = np.cumsum([0, *nbrs])
    found = []
    for i, t in product(range(len(index)), range(len(nbrs))):
        for slot in range(start[t], start[t] + count[i, t]):
            found.append((i, t, int(index[i, slot]), *map(int, shift[i, slot])))
    return found


def expected(coord, atype, rcut, cell, pbc=EVERYWHERE):
    table = search(coord, atype, 3, rcut, cell, pbc=pbc)
    edges = zip(table.centre(), atype[table.index], table.index, table.shift, strict=True)
    return {(int(i), int(t), int(j), *map(int, s)) for i, t, j, s in edges}


def assert_complete(neighbors, plan, coord, atype, cell, pbc=EVERYWHERE):
    neighbors.flags.raise_if_set()
    got = listed(neighbors, plan.nbrs)
    assert len(got) == len(set(got))
    assert set(got) == expected(coord, atype, plan.rlist, cell, pbc)


@pytest.fixture(scope="module")
def base():
    """One structure and its plan for tests that need not compile another program."""
    coord, atype = structure(CELLS["ortho"])
    return coord, atype, CELLS["ortho"], allocate(coord, atype, 3, 4.0, CELLS["ortho"])


@pytest.mark.parametrize(
    ("name", "rcut"),
    [("ortho", 4.0), ("triclinic", 6.0), ("thin", 5.5), ("thin", 2.2), ("left", 5.0), ("cluster", 2.5)],
)
def test_equals_the_host_search(name, rcut):
    cell = CELLS[name]
    coord, atype = structure(cell)
    plan = allocate(coord, atype, 3, rcut, cell)
    assert_complete(update(plan, coord, atype, cell), plan, coord, atype, cell)


@pytest.mark.parametrize("pbc", [(True, True, False), (False, True, False)])
def test_partial_periodicity(pbc):
    coord, atype = structure(CELLS["triclinic"])
    plan = allocate(coord, atype, 3, 5.0, CELLS["triclinic"], pbc=pbc)
    assert_complete(update(plan, coord, atype, CELLS["triclinic"]), plan, coord, atype, CELLS["triclinic"], pbc)


def test_bins_are_used_at_all():
    coord, atype = structure(CELLS["triclinic"], n=400)
    assert allocate(coord, atype, 3, 2.5, CELLS["triclinic"]).n_bin > 50
    open_plan = allocate(coord, atype, 3, 2.5)
    assert open_plan.n_bin > 50
    assert_complete(update(open_plan, coord, atype), open_plan, coord, atype, None)


def test_far_apart_atoms_do_not_ask_for_many_bins():
    coord = np.array([[0.0, 0, 0], [1.0, 0, 0], [1e7, 1e7, 1e7]])
    plan = allocate(coord, np.zeros(3, int), 1, 3.0)
    assert plan.n_bin <= 64
    np.testing.assert_array_equal(update(plan, coord, np.zeros(3, int)).count, [[1], [1], [0]])


def test_one_plan_serves_moving_atoms_and_a_breathing_cell_with_one_compilation():
    cell = CELLS["triclinic"]
    coord, atype = structure(cell, n=80)
    plan = allocate(coord, atype, 3, 5.0, cell, margin=2.0)
    rng = np.random.default_rng(5)
    before = None
    for step in range(6):
        size = 1.0 + 0.004 * (step - 3)
        coord = coord + rng.normal(0, 0.1, coord.shape)
        assert_complete(update(plan, coord * size, atype, cell * size), plan, coord * size, atype, cell * size)
        before = before or _update._cache_size()
    assert _update._cache_size() == before


def test_sections_may_be_joined():
    coord, atype = structure(CELLS["ortho"])
    one = np.minimum(atype, 0)
    plan = allocate(coord, one, 1, 4.0, CELLS["ortho"])
    count = search(coord, atype, 3, 4.0, CELLS["ortho"]).count.sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(update(plan, coord, one, CELLS["ortho"]).count, count)


def test_empty_slots_point_at_the_centre_and_placeholders_may_be_anywhere(base):
    coord, atype, cell, plan = base
    coord = np.where(atype[:, None] < 0, np.nan, coord)
    assert allocate(coord, atype, 3, 4.0, cell) == plan
    got = update(plan, coord, atype, cell)
    got.flags.raise_if_set()
    index, count = np.asarray(got.index), np.asarray(got.count)
    assert (count[atype < 0] == 0).all()
    start = np.cumsum([0, *plan.nbrs])
    for i, t in product(range(len(coord)), range(3)):
        assert (index[i, start[t] + count[i, t] : start[t + 1]] == i).all()
    assert index.dtype == got.shift.dtype == count.dtype == np.int32


@pytest.mark.parametrize("field", ["nbrs", "bin_atoms"])
def test_overflow_is_flagged_and_retried(field, base):
    coord, atype, cell, plan = base
    small = replace(plan, **{field: tuple(v // 3 for v in getattr(plan, field))})
    flags = update(small, coord, atype, cell).flags
    assert int(flags.bits) & {"nbrs": LIST_FULL, "bin_atoms": BIN_FULL}[field]
    with pytest.raises(CapacityError, match="incomplete"):
        flags.raise_if_set()
    neighbors, larger = search_with_retry(small, coord, atype, cell)
    assert_complete(neighbors, larger, coord, atype, cell)


@pytest.fixture(scope="module")
def apart():
    """The atoms of a batch, padding among them, with few neighbours each: coordinates, types, cell, plan."""
    rng = np.random.default_rng(2)
    grid = np.stack(np.meshgrid(*3 * [np.arange(3.0)], indexing="ij"), axis=-1).reshape(-1, 3)
    coord = 4.0 * grid + 2.0 + rng.uniform(-0.3, 0.3, grid.shape)
    atype = np.where(np.arange(27) % 3 == 1, 0, 1)
    cell = np.diag([12.0, 12.0, 12.0])
    frame = Frame(coord, atype, search(coord, atype, 2, 4.5, cell), cell)
    batch = pack([frame], choose_layout([frame], 2))[0]
    assert (batch.atype < 0).any()
    return batch.coord, batch.atype, cell, allocate(batch.coord, batch.atype, 2, 4.5, cell)


def gathered(coord, middle, factor):
    """Atoms moved together; placeholders move along and do not matter."""
    return middle + factor * (coord - middle)


@pytest.mark.parametrize(
    ("middle", "factor", "overflows"),
    [
        (6.0, 0.5, [LIST_FULL]),  # around a corner of bins
        (4.5, 0.25, [BIN_FULL, LIST_FULL]),  # into one bin: only when it holds them all are their neighbours seen
    ],
)
def test_atoms_that_move_together_overflow_their_list_which_grows(apart, middle, factor, overflows, caplog):
    coord, atype, cell, plan = apart
    assert_complete(update(plan, coord, atype, cell), plan, coord, atype, cell)
    together = gathered(coord, middle, factor)
    larger = plan
    for bit in overflows:
        crowded = update(larger, together, atype, cell)
        assert int(crowded.flags.bits) == bit
        assert (np.asarray(crowded.count) <= larger.nbrs).all()  # what a program sees stays within its arrays
        with pytest.raises(CapacityError, match="the neighbour list is incomplete: (bins|atoms) need .* of each type"):
            crowded.flags.raise_if_set()
        larger = grow(larger, crowded.flags)
    with caplog.at_level("INFO", "dpjax"):
        grown, found = search_with_retry(plan, together, atype, cell)
    assert caplog.text.count("the neighbour list was too small and is made again") == len(overflows)
    assert found == larger
    assert all(new > old for new, old in zip(found.nbrs, plan.nbrs, strict=True))
    assert_complete(grown, found, together, atype, cell)
    fresh = allocate(together, atype, 2, 4.5, cell)
    assert sorted(listed(grown, found.nbrs)) == sorted(listed(update(fresh, together, atype, cell), fresh.nbrs))
    back = update(found, coord, atype, cell)  # it still serves where they were
    assert_complete(back, found, coord, atype, cell)


def test_forces_from_a_list_that_grew_are_those_of_the_host_search(apart):
    coord, atype, cell, plan = apart
    together = gathered(coord, 6.0, 0.5)
    assert int(update(plan, together, atype, cell).flags.bits)
    grown, plan = search_with_retry(plan, together, atype, cell)
    config = parse_model(
        {
            "type_map": ["O", "H"],
            "descriptor": {"type": "se_e2_a", "rcut": 4.5, "rcut_smth": 1.0, "sel": list(plan.nbrs), "neuron": [3, 6], "seed": 1},
            "fitting_net": {"neuron": [5], "seed": 1},
        }
    )  # fmt: skip
    model = build_model(config)
    frame = Frame(together, atype, search(together, atype, 2, 4.5, cell), cell)
    layout = replace(choose_layout([frame], 2), nbrs=plan.nbrs)  # one program for both lists
    host, (places,) = pack([frame], layout)
    np.testing.assert_array_equal(places[atype >= 0], np.flatnonzero(atype >= 0))  # so the atoms of both stand alike
    device = host.replace(index=grown.index, shift=grown.shift.astype(host.shift.dtype), count=grown.count)
    outputs = jax.jit(partial(predict, model))
    variables = init_variables(model)
    want, got = outputs(variables, host), outputs(variables, device)
    for name in ("energy", "force", "virial"):
        scale = np.abs(want[name]).max()
        assert scale > 1e-5
        np.testing.assert_allclose(got[name], want[name], rtol=0, atol=1e-11 * scale)


def test_a_type_the_plan_never_saw_is_flagged(base):
    coord, atype, cell, _ = base
    plan = allocate(coord, np.where(atype == 2, 1, atype), 3, 4.0, cell)
    assert plan.nbrs[2] == 0
    neighbors, larger = search_with_retry(plan, coord, atype, cell)
    assert larger.nbrs[2] > 0
    assert_complete(neighbors, larger, coord, atype, cell)


def test_shrunken_cell_is_flagged_and_retried():
    cell = CELLS["triclinic"]
    coord, atype = structure(cell)
    plan = allocate(coord, atype, 3, 5.0, cell)
    small, near = cell * 0.6, coord * 0.6
    assert int(update(plan, near, atype, small).flags.bits) & CELL_SMALL
    neighbors, larger = search_with_retry(plan, near, atype, small)
    assert_complete(neighbors, larger, near, atype, small)


def test_a_cluster_that_spreads_keeps_its_plan():
    coord, atype = structure(None)
    plan = allocate(coord, atype, 3, 3.0)
    assert_complete(update(plan, coord * 3.0, atype), plan, coord * 3.0, atype, None)


@pytest.mark.parametrize("where", ["coord", "cell"])
def test_nan_is_flagged(where, base):
    coord, atype, cell, plan = base
    if where == "coord":
        coord = coord.copy()
        coord[np.flatnonzero(atype >= 0)[0], 1] = np.nan
    else:
        cell = cell * np.nan
    flags = update(plan, coord, atype, cell).flags
    assert int(flags.bits) & NOT_FINITE
    with pytest.raises(NonFiniteError):
        flags.raise_if_set()
    with pytest.raises(NonFiniteError):
        search_with_retry(plan, coord, atype, cell)


def test_retries_end(base):
    coord, atype, cell, plan = base
    with pytest.raises(CapacityError, match="after 1 enlargements"):
        search_with_retry(replace(plan, nbrs=(1, 1, 1)), coord, atype, cell, attempts=1)


def test_skin(base):
    coord, atype, cell, _ = base
    plan = allocate(coord, atype, 3, 3.0, cell, skin=1.0)
    assert plan.rlist == 4.0
    assert_complete(update(plan, coord, atype, cell), plan, coord, atype, cell)
    moved = coord.copy()
    moved[3, 1] += 0.49
    assert not is_stale(plan, coord, moved)
    moved[3, 1] += 0.02
    assert is_stale(plan, coord, moved)


def test_single_precision():
    cell = CELLS["triclinic"]
    coord, atype = structure(cell, spread=0.2)
    with jax.enable_x64(False):
        plan = allocate(coord, atype, 3, 5.0, cell)
        got = update(plan, jnp.asarray(coord, jnp.float32), atype, cell)
        assert got.index.dtype == jnp.int32
        assert_complete(got, plan, coord, atype, cell)


def test_runs_inside_a_program_without_callbacks(base):
    coord, atype, cell, plan = base

    @jax.jit
    def most_neighbors(x):
        return jnp.max(update(plan, x, atype, cell).count)

    assert int(most_neighbors(coord)) == search(coord, atype, 3, 4.0, cell).count.max()
    text = most_neighbors.lower(coord).as_text()
    assert "callback" not in text and "lapack" not in text


def test_memory_and_work_grow_linearly():
    """Eight times the atoms at the same density: temporary memory and operations grow by about eight, not by 64."""
    sizes, work = [], []
    for repeat in (1, 2):
        cell = np.eye(3) * 12.0
        coord, atype = structure(cell, n=170, spread=0.0)
        images = np.array(list(product(range(repeat), repeat=3))) * 12.0
        coord = (coord[None] + images[:, None]).reshape(-1, 3)
        atype = np.tile(np.minimum(atype, 0), len(images))
        plan = replace(allocate(coord, atype, 1, 3.0, cell * repeat), block=64)
        compiled = _update.lower(plan, coord, jnp.asarray(atype), cell * repeat).compile()
        sizes.append(compiled.memory_analysis().temp_size_in_bytes + compiled.memory_analysis().output_size_in_bytes)
        work.append(-(-len(coord) // plan.block) * plan.block * plan.n_stencil * plan.bin_atoms[0])
    assert sizes[1] < 10 * sizes[0] and work[1] < 12 * work[0]


def test_bad_cell_and_missing_cell(base):
    coord, atype, _, plan = base
    with pytest.raises(DataError, match="no volume"):
        allocate(coord, atype, 3, 4.0, np.zeros((3, 3)))
    with pytest.raises(DataError, match="at least one atom"):
        allocate(coord[:0], atype[:0], 3, 4.0)
    with pytest.raises(ValueError, match="needs a cell"):
        update(plan, coord, atype)


def test_grow_leaves_a_good_plan_alone(base):
    coord, atype, cell, plan = base
    assert grow(plan, update(plan, coord, atype, cell).flags) == plan


def test_only_placeholders(base):
    coord, _, cell, _ = base
    nobody = np.full(len(coord), -1)
    plan = allocate(coord, nobody, 2, 4.0, cell)
    got = update(plan, coord, nobody, cell)
    got.flags.raise_if_set()
    assert got.count.shape == (len(coord), 2) and int(got.count.sum()) == 0
