"""hybrid: outputs joined, and one list out of which every member takes its cut."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dpjax
from dpjax.batching import Layout
from dpjax.config import parse_model
from dpjax.descriptors import Neighborhood, build_descriptor, capacity, expansion
from dpjax.descriptors.crowding import by_cut, cuts, most_neighbors_of
from dpjax.descriptors.hybrid import Grids, shared_list
from dpjax.descriptors.neighborhood import Listing
from dpjax.errors import ModelError
from dpjax.models import resolutions
from dpjax.neighbors import search
from dpjax.nn.chebyshev import Grid
from tests.contracts.cases import hybrid, model, potential, se_e2_a, se_e2_r, se_e3
from tests.contracts.structures import make
from tests.descriptors.test_se_e2_a import N_SLOT, slots

NEAR, FAR = 2.2, 3.0  # cut-offs, angstrom


def of_all_types(**options):
    """A descriptor that keeps so many neighbours of all types together."""
    return {"type": "se_e3_tebd", "rcut": FAR, "rcut_smth": 1.0, "neuron": [3, 6], "tebd_dim": 2} | options


def described(descriptor, centre: int = 0, **whole):
    """The module of a descriptor, its random variables and what it says about some atoms."""
    config = parse_model(model(descriptor, **whole))
    module = build_descriptor(config)
    params = module.init(jax.random.key(0), method="init_parameters")["params"]
    rng = np.random.default_rng(1)
    own = [module] if not hasattr(module, "members") else module.members
    stats = [{"davg": rng.normal(size=(2, c)), "dstd": rng.uniform(0.3, 1.0, (2, c))} for c in map(columns, own)]
    named = stats[0] if own[0] is module else {f"members_{i}": part for i, part in enumerate(stats)}
    variables = {"params": params, "stats": named}
    disp, count = slots()
    return module, variables, Neighborhood(jnp.asarray(disp), jnp.asarray(count), nbrs=N_SLOT, centre=centre)


def columns(module) -> int:
    return 1 if type(module).__name__ == "SeE2R" else 4


def single(module, variables, i: int):
    """A member by itself, as a model of its own would have it, with its variables."""
    alone = module.members[i].clone(parent=None)
    return alone, {kind: tree[f"members_{i}"] for kind, tree in variables.items()}


LISTS = {
    "one cut-off": [se_e2_a(), se_e2_r(neuron=[3])],
    "shorter": [se_e2_r(rcut=NEAR), se_e2_a(type_one_side=False)],
    "crowded": [se_e2_a(rcut=NEAR, sel=[2, 4]), se_e2_a(sel=[3, 3], neuron=[3, 6]), se_e3(rcut=NEAR, sel=[4, 1])],
}


@pytest.mark.parametrize("name", ["one cut-off", "shorter", pytest.param("crowded", marks=pytest.mark.slow)])
def test_members_stand_side_by_side(name):
    module, variables, view = described(hybrid(*LISTS[name]))
    got = module.apply(variables, view)
    shared = view.replace(shared=shared_list(module.config))
    parts = []
    for i in range(len(LISTS[name])):
        alone, own = single(module, variables, i)
        parts.append(alone.apply(own, shared))
    np.testing.assert_array_equal(got.values, np.concatenate([part.values for part in parts], axis=1))
    np.testing.assert_array_equal(got.frame, np.concatenate([p.frame for p in parts if p.frame is not None], axis=1))
    assert got.values.shape == (5, module.dim_out)
    assert got.frame.shape == (5, module.dim_frame, 3)


def test_without_any_frame():
    module, variables, view = described(hybrid(se_e2_r(), se_e3()))
    assert module.apply(variables, view).frame is None
    assert module.dim_frame == 0


def test_the_list_has_room_for_what_the_widest_member_keeps():
    def room(*parts):
        return shared_list(parse_model(model(hybrid(*parts))).descriptor)

    assert room(se_e2_a(sel=[9, 2], rcut=NEAR), se_e2_a(sel=[4, 5])) == Listing(FAR, 9 + 5)
    assert room(se_e2_a(sel=[9, 2]), of_all_types(sel=[3, 4], rcut=NEAR)) == Listing(FAR, 11)
    assert room(se_e2_a(sel=[1, 2]), of_all_types(sel=7)) == Listing(FAR, 7)
    assert room(of_all_types(sel=7), of_all_types(sel=9)) == Listing(FAR, 9)


def test_a_member_cuts_the_list_of_all_and_not_its_own():
    """Of seven neighbours near the centre the list keeps the nearest six of both types; one type has four of them."""
    reach = 0.5 + 0.1 * np.arange(8)
    disp = np.zeros((1, 8, 3))
    disp[0, :, 0] = reach[[0, 1, 6, 7, 2, 3, 4, 5]]  # of the first type the four extremes
    view = Neighborhood(jnp.asarray(disp), jnp.array([[4, 4]]), nbrs=(4, 4), centre=0)

    def kept(sel, shared):
        return [int(part.kept[0]) for part in view.replace(shared=shared).sections(sel, FAR)]

    assert kept((3, 3), None) == [2, 3]  # of the nearest six
    assert kept((3, 3), Listing(FAR, 7)) == [3, 3]
    assert kept((3, 1), Listing(FAR, 8)) == [3, 1]
    assert kept((1, 1), Listing(FAR, 8)) == [1, 1]
    assert kept((3, 3), Listing(0.85, 7)) == [2, 2]  # within the cut-off of the list


def test_an_excluded_pair_keeps_its_place_up_to_the_cutoff_of_the_list():
    """As in DeePMD-kit, whose list does not end where the environment of a member does."""
    part = se_e2_a(rcut=NEAR, exclude_types=[[0, 1]])
    module, variables, view = described(hybrid(part, se_e2_a()))
    alone, own = single(module, variables, 0)
    got = module.apply(variables, view).values[:, : alone.dim_out]
    far = (np.linalg.norm(view.disp, axis=-1) > NEAR) & np.asarray(view.listed) & (np.asarray(view.neighbor_types) == 1)
    differ = np.abs(got - alone.apply(own, view).values).max(axis=1) > 1e-6
    np.testing.assert_array_equal(differ, (far & (np.linalg.norm(view.disp, axis=-1) < FAR)).any(axis=1))
    assert differ.any() and not differ.all()


@pytest.mark.slow
def test_series_of_the_members_that_have_them(monkeypatch):
    monkeypatch.setattr(expansion, "SERIES_COST", 0.0)
    module, variables, view = described(hybrid(se_e2_a(rcut=NEAR), se_e3(), se_e2_r(precision="float32", neuron=[4])))
    found = module.apply(variables, 5, N_SLOT, method="grids")
    assert [grids.members[1] for grids in found] == [None, None]
    assert [len({g.size for g in grids.members if g}) for grids in found] == [2, 2]
    assert found[0].panels < found[1].panels
    fine = Grids((Grid(60, 4, 8), None, Grid(60, 4, 4)))
    series = module.apply(variables, jnp.asarray(0.7), fine, method="expand")
    assert not series.complete
    got, want = module.apply(variables, view, series).values, module.apply(variables, view).values
    np.testing.assert_allclose(got[:, :-4], want[:, :-4], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(got[:, -4:], want[:, -4:], rtol=1e-5, atol=1e-6)
    assert got.dtype == jnp.float64


def test_no_member_with_series():
    pot = potential(model(hybrid(se_e3(), se_e3(rcut=NEAR))))
    with jax.enable_x64(True):
        assert resolutions(pot.model, pot.variables, Layout((64, 128), (32, 64), 1)) == (None,)


def test_width_of_the_table():
    def width(*parts):
        return capacity(parse_model(model(hybrid(*parts))).descriptor, 2)

    assert width(se_e2_a(sel=[9, 2], rcut=NEAR), se_e2_r(sel=[4, 5])) == (9, 5)
    assert width(se_e2_a(sel=[9, 2])) == (9, 2)
    assert width(of_all_types(sel=7), of_all_types(sel=[5, 4])) == (9,)
    assert width(se_e2_a(sel=[9, 2]), of_all_types(sel=7)) == (None, None)


def test_neighbours_are_counted_within_the_cutoff_of_each_member():
    s = make("crystal")
    config = parse_model(model(hybrid(se_e2_a(rcut=NEAR, sel=[1, 1]), se_e2_a(sel=[20, 28]), of_all_types(sel=9))))
    table = search(s.coord, s.atype, 2, FAR, s.cell)
    near = search(s.coord, s.atype, 2, NEAR, s.cell)
    found = by_cut(cuts(config), most_neighbors_of(cuts(config), table, s.coord, s.cell))
    assert [cut.path for cut, _ in found] == [f"model/descriptor/list/{i}/sel" for i in range(3)]
    for (_, most), want in zip(found, (near.count, table.count, table.count.sum(axis=1, keepdims=True)), strict=True):
        np.testing.assert_array_equal(most, want.max(axis=0))
    sentences = [text for cut, most in found for _, text in cut.shortage(most)]
    assert sentences[0].endswith("within 2.2 angstrom, but sel of list/0 keeps 1: the farthest are left out")
    assert "neighbours within 3 angstrom, but sel of list/2 keeps 9" in sentences[-1]


def test_each_member_warns(caplog):
    pot = potential(model(hybrid(se_e2_a(rcut=NEAR, sel=[20, 1]), se_e2_a())))
    s = make("crystal")
    for _ in range(2):
        pot.evaluate(s.coord[None], s.atype, s.cell[None])
    [text] = caplog.messages
    assert "neighbours of type H within 2.2 angstrom, but sel of list/0 keeps 1" in text


@pytest.mark.slow
def test_in_another_precision():
    pot = potential(model(hybrid(se_e2_a(), se_e2_r(rcut=NEAR))))
    s = make("crystal")
    want = pot.evaluate(s.coord[None], s.atype, s.cell[None])["energy"]
    config, variables = dpjax.interfaces.files.in_precision(pot.config, pot.variables, "float32")
    assert {member.precision for member in config.descriptor.list} == {"float32"}
    got = dpjax.Potential(config, variables).evaluate(s.coord[None], s.atype, s.cell[None])["energy"]
    assert 0 < abs(got - want).item() < 1e-4


@pytest.mark.filterwarnings("error")
def test_a_hybrid_alone_needs_64_bit_types():
    """Its fitting net does not."""
    pot = dpjax.build(model(hybrid(se_e2_a(), se_e2_r()), fitting={"precision": "float32"}))
    with jax.enable_x64(False), pytest.raises(ModelError, match="jax_enable_x64"):
        pot.model.init(jax.random.key(0), method="init_parameters")
