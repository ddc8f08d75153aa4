"""A structure on several devices gives the numbers of one device, also while its atoms move, and each device needs less memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from dpjax import Potential
from dpjax.config import parse_model
from dpjax.errors import DataError, ModelError, NonFiniteError
from dpjax.interfaces.spread import SpreadPotential
from dpjax.models import build_model
from dpjax.models.spread import STALE
from dpjax.neighbors.device import LIST_FULL
from tests.contracts.cases import CASES, Case, potential
from tests.export.frames import frame, thin_frame

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("se_atten_v2",)
TOLERANCE = {"energy": 1e-10}  # others 1e-9, relative to max(1, largest number)


def named(name: str):
    return next(case for case in CASES if case.name == name)


def is_local(case: Case) -> bool:
    """Whether slabs can compute the model: its atoms see neighbours within a cut-off, and of these what messages say."""
    built = build_model(parse_model(case.section))
    more = built.sees_parameters or built.takes_mask or built.takes_fragments
    return not (more or built.config.virtual_scale)


def case_parameters(local: bool):
    chosen = [case for case in CASES if is_local(case) == local]
    return [pytest.param(c, marks=() if c.name in QUICK or not local else pytest.mark.slow, id=c.name) for c in chosen]


@pytest.mark.parametrize("case", case_parameters(False))
def test_where_atoms_see_more_it_is_refused(case):
    reasons = r"atomic parameters of neighbours|no cut-off|with spins|fragments of the whole frame"
    with pytest.raises(ModelError, match=reasons):
        SpreadPotential(Potential(parse_model(case.section), {"stats": {}}))


def compare(got: dict, want: dict, where: str = "") -> None:
    assert set(got) == set(want)
    for name, values in want.items():
        assert got[name].shape == values.shape and got[name].dtype == values.dtype, name
        error = np.abs(got[name] - values).max(initial=0.0) / max(1.0, np.abs(values).max(initial=0.0))
        assert error <= TOLERANCE.get(name, 1e-9), f"{where} {name}: off by {error:.1e}"


def parameters(pot) -> dict[str, int]:
    fitting = pot.config.fitting_net
    charged = 2 * pot.model.takes_charge_spin
    return {"fparam": fitting.numb_fparam, "aparam": fitting.numb_aparam, "charge_spin": charged}


@pytest.mark.parametrize("case", case_parameters(True))
def test_two_devices_give_the_numbers_of_one(case):
    pot = potential(case.section)
    given = frame(100, **parameters(pot))
    given["atype"][7] = -1
    with jax.enable_x64(False):  # as a user's process has it
        got = SpreadPotential(pot, 2).evaluate(**given, atomic=True)
    compare(got, pot.evaluate(**given, atomic=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["se_e2_a-two-side-exclusions", "se_atten", "dpa3"])
def test_open_boundaries_and_cells_thinner_than_the_cutoff(name):
    pot = potential(named(name).section)
    for n in (1, 2):
        spread = SpreadPotential(pot, n)
        for given in (frame(100, periodic=False), thin_frame(), frame(1), frame(1, periodic=False)):
            for atomic in (False, True):
                compare(spread.evaluate(**given, atomic=atomic), pot.evaluate(**given, atomic=atomic), f"{n} devices")


@pytest.mark.slow
def test_frames_of_different_sizes_and_none():
    pot = potential(named("se_e2_a").section)
    spread = SpreadPotential(pot)
    frames = [frame(40), frame(70, seed=1)]
    ragged = {name: [f[name] if name == "atype" else f[name][0] for f in frames] for name in ("coord", "atype", "cell")}
    got, want = spread.evaluate(**ragged), pot.evaluate(**ragged)
    for i in range(2):
        compare({name: value[i] for name, value in got.items()}, {name: value[i] for name, value in want.items()})
    empty = spread.evaluate(np.zeros((0, 4, 3)), np.zeros(4, int), np.zeros((0, 3, 3)))
    assert empty["force"].shape == (0, 4, 3)
    no_atoms = np.zeros((1, 0, 3)), np.zeros(0, int)
    compare(spread.evaluate(*no_atoms, atomic=True), pot.evaluate(*no_atoms, atomic=True))


FOUR = """
import sys
import jax
jax.config.update("jax_enable_x64", True)
import tests.interfaces.test_spread as here
for name in ("hybrid", "se_e3_tebd", "dpa2"):
    pot = here.potential(here.named(name).section)
    spread = here.SpreadPotential(pot)
    assert len(spread.devices) == 4
    for given in (here.frame(150), here.frame(150, periodic=False), here.thin_frame()):
        here.compare(spread.evaluate(**given, atomic=True), pot.evaluate(**given, atomic=True), name)
print("four devices agree")
"""


@pytest.mark.slow
def test_four_devices_give_the_numbers_of_one():
    flags = "--xla_force_host_platform_device_count=4"
    env = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", FOUR], env=env, cwd=ROOT, capture_output=True, text=True)
    assert "four devices agree" in done.stdout, done.stderr[-2000:]


def moving(given: dict, steps: int, size: float) -> np.ndarray:
    """(steps, n, 3) positions of atoms that drift apart in random directions, ``size`` angstrom at each step."""
    direction = np.random.default_rng(0).normal(size=given["coord"][0].shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return given["coord"][0] + size * np.arange(steps)[:, None, None] * direction


@pytest.mark.slow
@pytest.mark.parametrize("name", ["se_e2_a", "se_atten_v2", "dpa3"])
def test_a_loop_on_the_devices_makes_lists_again_in_time(name):
    """Positions that jump by cell vectors, as jax-md's do, and a cell that changes are no matter."""
    pot = potential(named(name).section)
    given = frame(80)
    path, cells = moving(given, 6, 0.12), given["cell"][0] * np.linspace(1.0, 1.02, 6)[:, None, None]
    path = path @ np.linalg.inv(cells[0]) @ cells
    path[3:, ::7] += cells[3:, None, 1] - 2 * cells[3:, None, 2]
    structure = SpreadPotential(pot).structure(path[0], given["atype"], cells[0], skin=0.6)
    step = structure.step

    def body(state, moment):
        energy, force, virial, flags, state = step(state, *moment)
        return state, (energy, force, virial, flags.bits, state.listed.cell)

    _, (energy, force, virial, bits, listed) = jax.lax.scan(body, structure.state, (path, cells))
    assert not np.any(bits)
    made = len(np.unique(np.asarray(listed)[:, 0, 0]))
    assert 2 <= made < 6, "some lists were used again and some were made again"
    want = pot.evaluate(path, given["atype"], cells)
    compare({"energy": np.asarray(energy)[:, None], "force": np.asarray(force), "virial": np.asarray(virial)}, want)


@pytest.mark.slow
def test_what_does_not_fit_is_flagged_and_made_to_fit():
    pot = potential(named("se_e2_a").section)
    given = frame(80)
    coord, cell, atype = given["coord"][0], given["cell"][0], given["atype"]
    structure = SpreadPotential(pot).structure(coord, atype, cell, skin=0.3)
    centre = cell.sum(axis=0) / 2
    crowded = centre + 0.8 * (coord - centre)
    *_, flags, _ = structure.step(structure.state, crowded, cell)
    assert int(flags.bits) & LIST_FULL and not int(flags.bits) & STALE
    energy, force, virial, flags = structure(crowded, cell)
    assert int(flags.bits) == 0 and structure.divisions == 2
    want = pot.evaluate(crowded[None], atype, cell[None])
    got = {"energy": np.asarray(energy).reshape(1, 1), "force": np.asarray(force)[None]}
    compare(got | {"virial": np.asarray(virial)[None]}, want)
    compare(
        {k: v[None] for k, v in structure.outputs(coord, cell).items()}, pot.evaluate(coord[None], atype, cell[None])
    )
    with pytest.raises(NonFiniteError):
        structure(np.where(np.arange(len(coord))[:, None] == 3, np.nan, coord), cell)


@pytest.mark.slow
def test_molecular_dynamics_with_ase():
    ase = pytest.importorskip("ase")
    from ase.calculators.calculator import Calculator, all_changes
    from ase.md.verlet import VelocityVerlet

    pot = potential(named("se_e2_a").section)
    given = frame(80)
    structure = SpreadPotential(pot).structure(given["coord"][0], given["atype"], given["cell"][0], skin=0.2)

    def whole(coord, cell):
        out = pot.evaluate(coord[None], given["atype"], cell[None])
        return out["energy"][0, 0], out["force"][0]

    def run(forces) -> tuple[np.ndarray, float]:
        class Forces(Calculator):
            implemented_properties = ("energy", "forces")

            def calculate(self, atoms=None, properties=(), system_changes=all_changes):
                super().calculate(atoms, properties, system_changes)
                energy, force, *_ = forces(atoms.positions, given["cell"][0])
                self.results = {"energy": float(energy), "forces": np.asarray(force)}

        atoms = ase.Atoms("H80", given["coord"][0], cell=given["cell"][0], pbc=True)
        atoms.calc = Forces()
        atoms.set_velocities(0.3 * np.random.default_rng(1).normal(size=(80, 3)))
        VelocityVerlet(atoms, timestep=0.02).run(20)
        return atoms.positions, atoms.get_total_energy()

    made = np.asarray(structure.state.listed.frac)
    (here, energy), (there, same) = run(structure), run(whole)
    assert np.abs(here - there).max() < 1e-9 and abs(energy - same) < 1e-9
    assert np.abs(here - given["coord"][0]).max() > 0.1
    assert np.abs(np.asarray(structure.state.listed.frac) - made).max() > 0, "the list was never made again"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["se_e2_a", "dpa3"])
def test_memory_of_a_device_falls_with_their_number(name):
    pot = potential(named(name).section)
    given = frame(2000)
    used = [
        SpreadPotential(pot, n).structure(given["coord"][0], given["atype"], given["cell"][0]).memory() for n in (1, 2)
    ]
    assert used[1] < 0.75 * used[0], used


def test_mistakes_are_named():
    pot = potential(named("se_e2_a").section)
    with pytest.raises(ModelError, match="found str"):
        SpreadPotential("model.dp")
    with pytest.raises(DataError, match="devices: found 3, but this process has 2"):
        SpreadPotential(pot, 3)
    with pytest.raises(DataError, match="different devices"):
        SpreadPotential(pot, [jax.devices()[0]] * 2)
    spread, given = SpreadPotential(pot, 1), frame(8)
    with pytest.raises(DataError, match="frame 0: the coordinates of atom 2"):
        spread.evaluate(given["coord"] * np.where(np.arange(8) == 2, np.nan, 1.0)[None, :, None], given["atype"])
    with pytest.raises(DataError, match="frame 0: two atoms are on one point"):
        spread.evaluate(np.zeros((1, 2, 3)), np.zeros(2, int))
    with pytest.raises(DataError, match="skin: found -1"):
        spread.structure(given["coord"][0], given["atype"], skin=-1.0)
    with pytest.raises(DataError, match="axis: found 3"):
        spread.structure(given["coord"][0], given["atype"], axis=3)
    with pytest.raises(DataError, match="at least one atom"):
        spread.structure(np.zeros((0, 3)), np.zeros(0, int))
    with pytest.raises(ModelError, match="fparam was given"):
        spread.evaluate(**given, fparam=np.zeros((1, 1)))
