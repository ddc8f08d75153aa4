"""Potentials inside JAX-MD: numbers are those of ``evaluate``, trajectories survive overflows and restarts."""

from __future__ import annotations

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dpjax
from dpjax.cli.main import main
from dpjax.errors import ConfigError, DataError, ModelError, NonFiniteError, OutputError
from tests.contracts.cases import model, se_e2_a

pytest.importorskip("jax_md", reason="JAX-MD is not installed")
pytest.importorskip("ase", reason="ASE is not installed")

from jax_md import minimize, simulate, space

from dpjax.interfaces.jax_md import neighbor_fn_and_energy
from dpjax.interfaces.md import Dynamics, Simulation, minimized
from dpjax.interfaces.structures import Structure, read_structure
from dpjax.models.listed import still_serves
from dpjax.units import TIME_FS

CELL = np.array(
    [[6.0, 0.0, 0.0], [1.4, 5.6, 0.0], [-0.9, 1.1, 5.8]]
)  # triclinic; its heights are below twice the list's reach
MASS = {"O": 15.999, "H": 1.008}


@pytest.fixture(scope="module")
def pot():
    return dpjax.build(model(se_e2_a()), seed=0)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def waters(n: int, cell: np.ndarray | None = CELL) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates and types of n water molecules on a grid."""
    rng = np.random.default_rng(n)
    grid = np.stack(np.meshgrid(*[np.arange(2)] * 3), -1).reshape(-1, 3)[:n] / 2.0 + 0.1
    oxygen = grid @ (np.eye(3) * 6.0 if cell is None else cell)
    arms = np.array([[0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    coord = np.concatenate([oxygen, (oxygen[:, None] + arms[None]).reshape(-1, 3)])
    return coord + rng.normal(size=coord.shape) * 0.05, np.repeat([0, 1], [n, 2 * n])


def structure(n: int = 4, pbc: bool = True) -> Structure:
    coord, atype = waters(n, CELL if pbc else None)
    symbols = tuple("OH"[t] for t in atype)
    return Structure(
        symbols, atype, coord, CELL if pbc else None, (pbc,) * 3, np.array([MASS[s] for s in symbols]), None
    )


def close(found, want, tolerance=1e-9):
    np.testing.assert_allclose(
        np.asarray(found), np.asarray(want), rtol=0, atol=tolerance * max(1.0, np.abs(want).max())
    )


def test_energy_force_and_virial_are_those_of_evaluate(pot):
    coord, atype = waters(4)
    fractions = jnp.asarray(coord @ np.linalg.inv(CELL) % 1.0)
    neighbor_fn, energy_fn = neighbor_fn_and_energy(pot, CELL.T, atype)
    neighbors = neighbor_fn.allocate(fractions)

    @jax.jit
    def evaluated(R, neighbors, box):
        return energy_fn.evaluate(R, neighbors, box=box)

    rng = np.random.default_rng(0)
    for box in (CELL.T, 1.01 * CELL.T):
        moved = (fractions + rng.normal(size=fractions.shape) * 0.005) % 1.0  # some atoms come back on the other side
        out, real = evaluated(moved, neighbors, box), np.asarray(moved) @ box.T
        want = pot.evaluate(real[None], atype, box.T[None])
        close(out["energy"], want["energy"][0, 0], 1e-10)
        close(out["force"], want["force"][0])
        close(np.ravel(out["virial"]), want["virial"][0])
    far = fractions.at[0].add(0.3)
    out = evaluated(far, neighbors, CELL.T)
    assert np.isnan(out["force"]).any() and np.isnan(
        out["energy"]
    )  # the list does not serve there: no number that is wrong
    assert "farther" in neighbor_fn.diagnose(far, neighbors).reasons
    anew = jax.jit(neighbor_fn.update)(far, neighbors)
    want = pot.evaluate((np.asarray(far) @ CELL)[None], atype, CELL[None])
    close(evaluated(far, anew, CELL.T)["force"], want["force"][0])


@pytest.mark.slow
def test_a_list_that_overflows_costs_a_chunk_and_no_step(pot, caplog):
    coord, atype = waters(4)
    neighbor_fn, energy_fn = neighbor_fn_and_energy(pot, CELL.T, atype, fractional_coordinates=False)
    init, apply = simulate.nve(energy_fn, space.free()[1], 0.5 / TIME_FS)
    mass = jnp.asarray(structure().mass)
    ample = neighbor_fn.allocate(jnp.asarray(coord))
    state = init(jax.random.PRNGKey(0), jnp.asarray(coord), 0.02, mass=mass, neighbor=ample)
    want, _ = neighbor_fn.run(apply, state, ample, 12)
    system, capacity = neighbor_fn.places.system, ample.capacity
    small = replace(capacity, search=replace(capacity.search, nbrs=(4, 4), bin_atoms=(1, 2)), within=(1, 2))
    tight = system.made(
        *neighbor_fn.places(jnp.asarray(coord)), small, 1.5
    )  # series for atoms that are farther apart, too
    assert bool(tight.did_buffer_overflow)
    with caplog.at_level("INFO", logger="dpjax"):
        found, grown = neighbor_fn.run(apply, state, tight, 12)
    assert "run again with more room" in caplog.text
    assert all(a >= b for a, b in zip(grown.capacity.within, small.within)) and grown.capacity != small
    close(found.position, want.position, 1e-11)
    close(found.momentum, want.momentum, 1e-11)
    broken = state.set(momentum=state.momentum.at[3].set(jnp.nan))
    with pytest.raises(NonFiniteError, match="step 5"):
        neighbor_fn.run(apply, broken, grown, 12, step=5)


def test_mistakes_are_told(pot):
    coord, atype = waters(2)
    with pytest.raises(DataError, match="fractional"):
        neighbor_fn_and_energy(pot, CELL.T, atype, pbc=(True, True, False))
    with pytest.raises(DataError, match="skin"):
        neighbor_fn_and_energy(pot, CELL.T, atype, skin=0.0)
    with pytest.raises(DataError, match="one for each of the 2 structures"):
        neighbor_fn_and_energy(pot, [CELL.T], [atype, atype])
    with pytest.raises(ModelError, match="fparam"):
        neighbor_fn_and_energy(pot, CELL.T, atype, fparam=[1.0])
    with pytest.raises(DataError, match=r"R: found shape \(5, 3\)"):
        neighbor_fn_and_energy(pot, None, atype)[0].allocate(jnp.zeros((5, 3)))
    with pytest.raises(DataError, match="box: found shape"):
        neighbor_fn_and_energy(pot, np.ones(2), atype)
    for options, message in (
        ({"ensemble": "nvt"}, "temperature: missing"),
        ({"ensemble": "npt", "temperature": 300.0}, "pressure: missing"),
        ({"pressure": 1.0}, "pressure: has no effect"),
        ({"timestep": -1.0}, "timestep: found -1.0"),
        ({"ensemble": "npt", "temperature": 300.0, "pressure": 1.0, "thermostat": "langevin"}, "no Langevin"),
    ):
        with pytest.raises(ConfigError, match=message):
            Dynamics(**options)


def test_structures_are_read_and_refused(tmp_path, pot):
    from ase import Atoms
    from ase.io import write

    atoms = Atoms("OHH", positions=np.eye(3), cell=[5.0, 5.0, 0.0], pbc=(True, True, False))
    write(tmp_path / "slab.xyz", atoms)
    read = read_structure(tmp_path / "slab.xyz", ["H", "O"], masses={"H": 2.014})
    assert read.atype.tolist() == [1, 0, 0] and read.mass.tolist() == [15.999, 2.014, 2.014] and read.momentum is None
    assert read.pbc == (True, True, False) and np.linalg.det(read.cell) > 1.0
    system = read_structure("examples/water/valid", pot.type_map, frame=-1)
    assert len(system.atype) == 96 and system.pbc == (True,) * 3 and system.mass[0] == pytest.approx(15.999)
    for path, options, message in (
        (tmp_path / "none.xyz", {}, "no such file"),
        (tmp_path / "slab.xyz", {"type_map": ["O"]}, "atom 1 is H, which the model does not know"),
        (tmp_path / "slab.xyz", {"frame": 3}, "cannot read frame 3"),
        ("examples/water/valid", {"frame": 9999}, "frame 9999 asked for"),
        (tmp_path / "slab.xyz", {"masses": {"Na": 1.0}}, "a mass is given for Na"),
    ):
        with pytest.raises(DataError, match=message):
            read_structure(path, **({"type_map": ["O", "H"]} | options))


@pytest.mark.slow
@pytest.mark.parametrize("pbc", [True, False])
def test_energy_is_conserved_and_forces_stay_right(pot, pbc):
    start = structure(pbc=pbc)
    simulation = Simulation(pot, start, Dynamics("nve", temperature=40.0, timestep=0.5), seed=1)
    rows = [simulation.observe()]
    for _ in range(5):
        simulation.advance(40)
        rows.append(simulation.observe())
        now = simulation.snapshot()
        want = pot.evaluate(now["coord"][None], start.atype, None if now["cell"] is None else now["cell"][None])
        close(now["force"], want["force"][0])
        close(np.ravel(now["virial"]), want["virial"][0])
        close(now["energy"], want["energy"][0, 0], 1e-10)
    total, potential = (np.array([row[name] for row in rows]) for name in ("total", "potential"))
    assert np.ptp(potential) > 1e-4
    assert np.ptp(total) < 0.03 * np.ptp(potential)
    assert rows[-1]["step"] == 200 and rows[-1]["time"] == pytest.approx(0.1)


def continued(pot, start, dynamics, steps):
    """A simulation of twice so many steps, what it showed at its start, and what it saved halfway: from there a second one ends in
    the same bits."""
    one = Simulation(pot, start, dynamics, seed=3)
    first = one.observe()
    one.advance(steps)
    arrays, facts = one.saved()
    facts = json.loads(json.dumps(facts))
    one.advance(steps)
    two = Simulation(pot, start, dynamics, seed=4)
    two.restore(arrays, facts)
    two.advance(steps)
    for a, b in zip(jax.tree.leaves(one.state), jax.tree.leaves(two.state), strict=True):
        np.testing.assert_array_equal(a, b)
    return one, first, (arrays, facts)


@pytest.mark.slow
@pytest.mark.parametrize(
    "dynamics",
    [
        Dynamics("nvt", temperature=60.0),
        Dynamics("nvt", temperature=60.0, thermostat="langevin", friction=20.0),
        Dynamics("npt", temperature=60.0, pressure=500.0, barostat_time=50.0),
    ],
    ids=lambda dynamics: f"{dynamics.ensemble}-{dynamics.thermostat}",
)
def test_ensembles_and_exact_restart(pot, dynamics):
    start = structure()
    one, first, saved = continued(pot, start, dynamics, 30)
    last = one.observe()
    if dynamics.thermostat == "nose-hoover":
        assert abs(last["conserved"] - first["conserved"]) < 0.05 * abs(last["total"] - first["total"]) + 2e-4
    else:
        assert np.isnan(last["conserved"])
    if dynamics.ensemble == "npt":
        assert abs(last["volume"] - first["volume"]) > 1e-3
        now = one.snapshot()
        close(now["force"], pot.evaluate(now["coord"][None], start.atype, now["cell"][None])["force"][0])
        shape = now["cell"][CELL != 0] / CELL[CELL != 0]
        assert np.ptp(shape) < 1e-12  # JAX-MD's barostat keeps the shape
        arrays, facts = saved
        with pytest.raises(DataError, match="npt run of an earlier version.*drifted; start a new run"):
            one.restore(arrays, {name: fact for name, fact in facts.items() if name != "format"})
    with pytest.raises(DataError, match="timestep was 0.5 and is 0.25"):
        Simulation(pot, start, replace(dynamics, timestep=0.25)).restore(*saved)


@pytest.mark.slow
def test_a_run_continues_with_the_inputs_it_began_with():
    own = dpjax.build(model(se_e2_a(), fitting={"numb_fparam": 1}), seed=0)
    start, dynamics = structure(), Dynamics("nve", temperature=60.0)
    saved = Simulation(own, start, dynamics, fparam=[0.5]).saved()
    with pytest.raises(DataError, match=r"fparam was \[0.5\] and is \[1.0\]: a run continues with"):
        Simulation(own, start, dynamics, fparam=[1.0]).restore(*saved)


@pytest.mark.slow
def test_many_structures_move_as_each_alone(pot):
    starts = [waters(1, None), waters(3), waters(2, None), waters(4)]
    boxes = [None, CELL.T, None, 1.1 * CELL.T]
    mass = np.array([15.999, 1.008])

    def run(neighbor_fn, energy_fn, coord, atype, momenta):
        init, apply = simulate.nve(energy_fn, space.free()[1], 0.5 / TIME_FS)
        neighbors = neighbor_fn.allocate(jnp.asarray(coord))
        state = init(
            jax.random.PRNGKey(0),
            jnp.asarray(coord),
            0.0,
            mass=jnp.asarray(mass[atype]),
            neighbor=neighbors,
            momenta=momenta,
        )
        return (*neighbor_fn.run(apply, state, neighbors, 25), energy_fn)

    atypes = [atype for _, atype in starts]
    coord = np.concatenate([c for c, _ in starts])
    momenta = jnp.asarray(np.random.default_rng(0).normal(size=coord.shape))
    together, neighbors, energy = run(
        *neighbor_fn_and_energy(pot, boxes, atypes), coord, np.concatenate(atypes), momenta
    )
    each = energy.each(together.position, neighbors)
    ends = np.cumsum([0, *map(len, atypes)])
    for i, (start, atype) in enumerate(starts):
        part = slice(ends[i], ends[i + 1])
        alone, own, energy = run(
            *neighbor_fn_and_energy(pot, boxes[i], atype, fractional_coordinates=False), start, atype, momenta[part]
        )
        close(together.position[part], alone.position)
        close(together.force[part], alone.force)
        close(each[i], energy(alone.position, own), 1e-10)


@pytest.mark.slow
def test_replicas_by_vmap(pot):
    coord, atype = waters(2)
    neighbor_fn, energy_fn = neighbor_fn_and_energy(pot, CELL.T, atype, fractional_coordinates=False)
    init, apply = simulate.nvt_nose_hoover(energy_fn, space.free()[1], 0.5 / TIME_FS, 0.005)
    neighbors = neighbor_fn.allocate(jnp.asarray(coord))
    mass = jnp.asarray(structure(2).mass)

    def run(key):
        state = init(key, jnp.asarray(coord), mass=mass, neighbor=neighbors)

        def body(_, carry):
            state, own = carry
            own = neighbor_fn.update(state.position, own)
            return apply(state, neighbor=own), own

        return jax.lax.fori_loop(0, 10, body, (state, neighbors))[0].position

    keys = jax.random.split(jax.random.PRNGKey(1), 3)
    many = jax.jit(jax.vmap(run))(keys)
    close(many[1], jax.jit(run)(keys[1]))
    assert not np.allclose(many[0], many[1])


@pytest.mark.slow
def test_a_minimiser_takes_short_steps_where_forces_are_large(pot):
    """An untrained model, or a poor start: FIRE alone moves atoms farther in one step than the list reaches."""
    start = structure(2)
    nets = pot.variables["params"]["fitting_net"]
    nets = {t: {**net, "layers_2": jax.tree.map(lambda x: 1e5 * x, net["layers_2"])} for t, net in nets.items()}
    params = {**pot.variables["params"], "fitting_net": nets}
    steep = dpjax.Potential(pot.config, {**pot.variables, "params": params})
    relaxed, _, steps = minimized(steep, start, 12, skin=0.5)
    moved = np.linalg.norm(relaxed.coord - start.coord, axis=1)
    assert steps == 12 and 0.1 < moved.max() < 12 * 0.1


@pytest.mark.slow
def test_minimisers_relax(pot):
    start = structure(2)
    relaxed, force, steps = minimized(pot, start, 20, tolerance=1e-4)
    before, after = (pot.evaluate(s.coord[None], s.atype, s.cell[None])["energy"][0, 0] for s in (start, relaxed))
    assert after < before - 1e-7 and 0 < steps <= 20
    np.testing.assert_allclose(
        np.abs(pot.evaluate(relaxed.coord[None], start.atype, CELL[None])["force"]).max(), force, atol=1e-9
    )
    neighbor_fn, energy_fn = neighbor_fn_and_energy(pot, CELL.T, start.atype)
    R = jnp.asarray(start.coord @ np.linalg.inv(CELL) % 1.0)
    init, apply = minimize.fire_descent(energy_fn, space.periodic_general(CELL.T)[1])
    neighbors = neighbor_fn.allocate(R)
    state, _ = neighbor_fn.run(apply, init(R, neighbor=neighbors), neighbors, steps)
    close(
        np.asarray(state.force),
        pot.evaluate((np.asarray(state.position) @ CELL)[None], start.atype, CELL[None])["force"][0],
    )


@pytest.mark.slow
def test_the_command_runs_stops_and_continues(pot, tmp_path, capsys):
    from ase import Atoms
    from ase.io import read, write

    start = structure(2)
    write(tmp_path / "start.xyz", Atoms(start.symbols, positions=start.coord, cell=CELL, pbc=True))
    dpjax.save(pot, tmp_path / "model.dp")
    base = [
        "md",
        str(tmp_path / "model.dp"),
        str(tmp_path / "start.xyz"),
        "--ensemble",
        "nvt",
        "--temperature",
        "50",
        "--seed",
        "7",
    ]
    base += ["--thermo", "5", "--dump", "10", "--save", "15", "--minimize", "5", "-v", "2"]
    assert main([*base, "--steps", "40", "-o", str(tmp_path / "whole")]) == 0
    assert "40 steps, 0.02 ps" in capsys.readouterr().out
    assert main([*base, "--steps", "20", "-o", str(tmp_path / "parts")]) == 0
    with open(tmp_path / "parts" / "thermo.out", "a") as out:
        out.write("what a run wrote that was killed before it saved\n")
    assert main([*base, "--steps", "40", "-o", str(tmp_path / "parts")]) == 1  # not without --restart
    assert "--restart" in capsys.readouterr().err
    assert main([*base, "--steps", "40", "-o", str(tmp_path / "parts"), "--restart"]) == 0
    for name in ("thermo.out", "trajectory.xyz"):
        assert (tmp_path / "parts" / name).read_text() == (tmp_path / "whole" / name).read_text()
    table = np.loadtxt(tmp_path / "whole" / "thermo.out")
    assert table[:, 0].tolist() == list(range(0, 41, 5)) and np.isfinite(table).all()
    frames = read(tmp_path / "whole" / "trajectory.xyz", index=":")
    assert [frame.info["step"] for frame in frames] == [0, 10, 20, 30, 40]
    want = pot.evaluate(frames[2].positions[None], start.atype, frames[2].cell.array[None])
    np.testing.assert_allclose(frames[2].get_forces(), want["force"][0], atol=2e-7)  # eight digits in the file
    np.testing.assert_allclose(frames[2].get_temperature(), table[4, 5], rtol=1e-4)
    (tmp_path / "parts" / "restart.npz").write_bytes(b"damaged")
    assert main([*base, "--steps", "50", "-o", str(tmp_path / "parts"), "--restart"]) == 1
    assert "restart.npz: cannot be read" in capsys.readouterr().err


def test_a_run_is_not_overwritten(tmp_path):
    from dpjax.interfaces.md_run import Run, Schedule

    (tmp_path / "thermo.out").write_text("#\n")
    with pytest.raises(OutputError, match="thermo.out is there already"):
        Run(None, Schedule(10), tmp_path)
    with pytest.raises(DataError, match="nothing to continue"):
        Run(None, Schedule(10), tmp_path, restart=True)
    with pytest.raises(ConfigError, match="steps: found -1"):
        Schedule(-1)
    assert [Schedule(25, 10, 0, 12).next(step) for step in (0, 10, 12, 20, 24)] == [10, 12, 20, 24, 25]


def test_a_list_serves_while_its_cell_grows_and_until_it_shrinks_by_the_skin():
    rng = np.random.default_rng(0)
    coord, rcut, skin = rng.uniform(size=(20, 3)) @ CELL, 3.0, 1.0

    def serves(stretched):
        return bool(still_serves(rcut, skin, coord @ np.linalg.inv(CELL) @ stretched, coord, stretched, CELL))

    assert serves(1.5 * CELL) and serves(0.751 * CELL) and not serves(0.749 * CELL)
    assert serves(CELL * (0.9, 1.0, 1.0)) and not serves(CELL * (0.74, 1.0, 1.0))
