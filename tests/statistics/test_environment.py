"""Environment statistics against sums written out slot by slot, and against DeePMD-kit on real water."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dpjax.config import DataConfig, models, normalize
from dpjax.config.schema import Context
from dpjax.data import load_systems
from dpjax.descriptors import ordered_pairs
from dpjax.geometry.environment import switch_weight
from dpjax.neighbors import search
from dpjax.statistics import EnvironmentView, Moments, frame_moments, switch
from dpjax.training.environment import environment_blocks
from tests.config.inputs import water
from tests.contracts.structures import make
from tests.shared import shared

VIEWS = {
    "plain": EnvironmentView(3.0, 0.6, (20, 28)),
    "protected": EnvironmentView(3.0, 0.6, (20, 28), protection=0.3),
    "excluded by the descriptor": EnvironmentView(3.0, 0.6, (20, 28), exclude_types=ordered_pairs([(0, 1)])),
    "excluded by the model": EnvironmentView(3.0, 0.6, (20, 28), pair_exclude=ordered_pairs([(0, 0)])),
    "cut by sel": EnvironmentView(3.0, 0.6, (2, 3)),
    "cut in the sum only": EnvironmentView(3.0, 0.6, (1, 40)),
    "shorter than the table": EnvironmentView(2.2, 1.0, (20, 28)),
}


def brute_force(s, view) -> dict[int, np.ndarray]:
    """Rows of the environment matrix of all centres of each type, every place of ``sel`` included: (n_row, 4)."""
    images = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) @ s.cell
    rows = {t: [] for t in range(len(view.sel))}
    for i, here in enumerate(s.coord):
        if s.atype[i] < 0:
            continue
        disp = (s.coord[None] + images[:, None] - here).reshape(-1, 3)
        kind = np.tile(s.atype, len(images))
        dist = np.linalg.norm(disp, axis=1)
        order = np.argsort(dist)
        order = order[(dist[order] > 0) & (dist[order] < view.rcut) & (kind[order] >= 0)][: sum(view.sel)]
        for t, room in enumerate(view.sel):
            near = order[kind[order] == t][:room]
            pair = (s.atype[i], t)
            if pair in view.pair_exclude:  # no neighbours, and their places do not count
                rows[s.atype[i]] += [np.zeros(4)] * (room - len(near))
                continue
            for j in near:
                r = dist[j] + view.protection
                weight = 0.0 if pair in view.exclude_types else switch_of(dist[j], view) / r
                rows[s.atype[i]].append(weight * np.array([1.0, *(disp[j] / r)]))
            rows[s.atype[i]] += [np.zeros(4)] * (room - len(near))
    return {t: np.array(r) for t, r in rows.items()}


def switch_of(r: float, view: EnvironmentView) -> float:
    u = (r - view.rcut_smth) / (view.rcut - view.rcut_smth)
    return 1.0 if u <= 0 else u**3 * (-6 * u**2 + 15 * u - 10) + 1


@pytest.mark.parametrize("name", VIEWS)
def test_moments_are_those_of_the_matrix(name):
    view, s = VIEWS[name], make("crystal")
    table = search(s.coord, s.atype, 2, 3.0, s.cell)
    moments = frame_moments(s.coord, s.cell, s.atype, table, view)
    for t, rows in brute_force(s, view).items():
        assert moments.number[t] == len(rows)
        np.testing.assert_allclose(moments.davg()[t], [rows[:, 0].mean(), 0, 0, 0], atol=1e-13)
        spread = [rows[:, 0].std(), *[rows[:, 1:].std()] * 3]
        np.testing.assert_allclose(moments.dstd()[t], spread, rtol=1e-12)


def test_moments_of_frames_add_up():
    view = VIEWS["plain"]
    frames = [make("crystal", seed=seed) for seed in range(3)]
    parts = [frame_moments(s.coord, s.cell, s.atype, search(s.coord, s.atype, 2, 3.0, s.cell), view) for s in frames]
    total = sum(parts, Moments.zero(2))
    rows = [brute_force(s, view) for s in frames]
    for t in range(2):
        joined = np.concatenate([r[t] for r in rows])
        np.testing.assert_allclose(total.davg()[t, 0], joined[:, 0].mean(), rtol=1e-12)
        np.testing.assert_allclose(total.dstd()[t, 0], joined[:, 0].std(), rtol=1e-12)


def test_placeholders_do_not_count():
    view, s = VIEWS["plain"], make("crystal")
    holes = s.joined(s.replace(coord=s.coord + 0.3, atype=np.full_like(s.atype, -1)))
    plain, mixed = (
        frame_moments(x.coord, x.cell, x.atype, search(x.coord, x.atype, 2, 3.0, x.cell), view) for x in (s, holes)
    )
    np.testing.assert_array_equal(mixed.number, plain.number)
    np.testing.assert_allclose(mixed.dstd(), plain.dstd(), rtol=1e-13)


def test_an_absent_type_and_a_still_one_get_a_safe_spread():
    view = EnvironmentView(3.0, 0.6, (4, 4, 4))
    coord = np.array([[0.0, 0, 0], [30.0, 0, 0]])
    atype = np.array([0, 1])
    moments = frame_moments(coord, None, atype, search(coord, atype, 3, 3.0), view)
    np.testing.assert_array_equal(moments.davg(), np.zeros((3, 4)))
    np.testing.assert_array_equal(moments.dstd(), np.array([[0.01] * 4, [0.01] * 4, [0.1] * 4]))


def test_davg_can_be_kept_zero():
    s = make("crystal")
    moments = frame_moments(s.coord, s.cell, s.atype, search(s.coord, s.atype, 2, 3.0, s.cell), VIEWS["plain"])
    assert moments.davg()[:, 0].min() > 0
    assert not moments.davg(zero=True).any()


def test_both_switches_are_the_same_function():
    r = np.linspace(0.1, 4.0, 50)
    np.testing.assert_allclose(switch(r, 0.5, 3.0), switch_weight(r, 0.5, 3.0), rtol=0, atol=1e-15)


# --- DeePMD-kit's numbers ---------------------------------------------------------------------------------------------------

CASES = (
    "se_e2_a",
    "se_e2_a_smooth2_short",
    "se_e2_a_set_davg_zero",
    "se_e2_a_sel_too_small",
    "se_e2_a_exclude_types",
    "se_e2_a_model_pair_exclude",
    "se_e2_a_env_protection",
    "se_e2_r",
    "se_e3",
    "se_e3_tebd",
    "se_atten",
    "se_atten_davg",
    "dpa2",
    "dpa2_davg_three_body",
    "dpa3",
    "dpa3_fix_stat_std_off",
    "dpa3_fix_stat_std_0p5",
)


@pytest.fixture(scope="module")
def index():
    return json.loads(shared("golden", "training", "stats", "index.json").read_text())


@pytest.fixture(scope="module")
def frames(index):
    """Coordinates, cell and types of the frames the reference drew."""
    rows = index["frames_drawn"]
    names = tuple(str(shared("data", row["system"])) for row in rows)
    systems = load_systems(DataConfig(systems=names), ("O", "H"), ())
    return [(s.coord(i), s.cell(i), s.frame_types(i)) for s, row in zip(systems, rows) for i in row["frames"]]


@pytest.mark.parametrize("case", CASES)
def test_water_statistics_equal_the_reference(case, index, frames):
    """Of every block of the descriptor: counts, sums and what they come to; all places of a type hold the same."""
    spec = next(c for c in index["environment"] if c["case"] == case)
    section = {"type_map": spec["type_map"], "descriptor": spec["descriptor"], "fitting_net": {}}
    section["pair_exclude_types"] = spec["model_pair_exclude_types"] or []
    raw = normalize(water({"model": section}))["model"]  # as for a training, whether the model is built yet or not
    config = models.parse(raw, "model", Context())
    stored = np.load(shared("golden", "training", "stats", spec["file"]))
    blocks = environment_blocks(config.descriptor, config)
    for name, block in blocks.items():
        prefix = {"dpa2": f"{name}_variable.", "dpa3": "repflow_variable."}.get(spec["descriptor"]["type"], "")
        total = Moments.zero(2)
        for coord, cell, atype in frames:
            total += frame_moments(coord, cell, atype, search(coord, atype, 2, block.view.rcut, cell), block.view)
        (sums,) = [s for key, s in spec["accumulated_number_sum_sumsq"].items() if len(blocks) == 1 or key == name] or [
            {}
        ]
        assert bool(sums) == (block.spread is None)  # of what is not measured there are none
        for t in range(2 if sums else 0):
            np.testing.assert_allclose(
                (total.number[t], total.radial[t], total.radial_sq[t]), sums[f"r_{t}"], rtol=1e-10
            )
            if block.n_column == 4:
                np.testing.assert_allclose(3 * total.number[t], sums[f"a_{t}"][0])
                np.testing.assert_allclose(
                    (total.angular[t], total.angular_sq[t]), sums[f"a_{t}"][1:], rtol=1e-9, atol=1e-8
                )
        ours = block.statistics(total)
        for key, tolerance in (("davg", 1e-12), ("dstd", 0.0)):
            theirs = stored[f"{prefix}@variables.{key}"]
            np.testing.assert_array_equal(theirs, theirs[:, :1].repeat(sum(block.view.sel), axis=1))
            np.testing.assert_allclose(ours[key], theirs[:, 0], rtol=1e-8, atol=tolerance)
