"""Molecular dynamics of one structure with the integrators of JAX-MD: ensembles, what is observed, exact continuation.

Units are those of :mod:`dpjax.units`; time inside is in units of ``TIME_FS``.  Everything runs in double precision but, where a
potential was loaded so, its networks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.errors import ConfigError, DataError
from dpjax.geometry.cells import volume
from dpjax.interfaces.jax_md import EnergyFn, NeighborFn, neighbor_fn_and_energy
from dpjax.interfaces.moving import Neighbors
from dpjax.interfaces.potential import Potential
from dpjax.interfaces.structures import Structure
from dpjax.models import require_no_spins
from dpjax.units import BAR, BOLTZMANN, TIME_FS

ENSEMBLES = ("nve", "nvt", "npt")
FORMAT = 2  # of what `Simulation.saved` gives: 2 keeps positions of npt in angstrom, 1 (which was not written down) in fractions
LONGEST_STEP = 0.1  # angstrom that an atom moves at most in a step of a minimiser
THERMOSTATS = ("nose-hoover", "langevin")
COLUMNS = ("step", "time", "potential", "kinetic", "total", "temperature", "pressure", "volume", "conserved")


@dataclass(frozen=True)
class Dynamics:
    """How atoms move.

    Raises:
        ConfigError: options that do not go together.
    """

    ensemble: str = "nve"
    temperature: float | None = None  # K: of the thermostat, and of velocities that are drawn
    pressure: float | None = None  # bar
    timestep: float = 0.5  # fs
    thermostat: str = "nose-hoover"
    thermostat_time: float | None = None  # fs; None: 100 time steps
    barostat_time: float | None = None  # fs; None: 1000 time steps
    friction: float = 1.0  # 1/ps, of the Langevin thermostat

    def __post_init__(self):
        if self.ensemble not in ENSEMBLES:
            raise ConfigError(f"ensemble: found {self.ensemble!r}, expected one of {', '.join(ENSEMBLES)}")
        if self.thermostat not in THERMOSTATS:
            raise ConfigError(f"thermostat: found {self.thermostat!r}, expected one of {', '.join(THERMOSTATS)}")
        for name in ("temperature", "timestep", "thermostat_time", "barostat_time", "friction"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise ConfigError(f"{name}: found {value}, expected a number above 0")
        if self.ensemble != "nve" and self.temperature is None:
            raise ConfigError(f"temperature: missing; {self.ensemble} needs one, in K")
        if (self.ensemble == "npt") != (self.pressure is not None):
            missing = self.pressure is None
            what = "missing; npt needs one, in bar" if missing else "has no effect unless the ensemble is npt"
            raise ConfigError(f"pressure: {what}")
        if self.ensemble == "npt" and self.thermostat != "nose-hoover":
            raise ConfigError(
                "thermostat: npt has Nose-Hoover chains for temperature and pressure, no Langevin thermostat"
            )

    @property
    def dt(self) -> float:
        """Time step in units of ``TIME_FS``."""
        return self.timestep / TIME_FS

    @property
    def kT(self) -> float | None:
        """eV."""
        return None if self.temperature is None else BOLTZMANN * self.temperature


class Simulator(NamedTuple):
    """What JAX-MD makes of an energy."""

    init: Callable[..., Any]
    apply: Callable[..., Any]
    conserved: Callable[[Any, jax.Array], Any]  # (state, potential energy) -> eV; NaN where nothing is conserved


class Simulation:
    """A structure in motion.

    Args:
        potential: of energies.
        structure: the start.
        dynamics: how it moves.
        seed: of velocities that are drawn and of the Langevin thermostat.
        skin: angstrom, of the neighbour list.
        margin: room of the neighbour list over what the start needs.
        fparam, charge_spin: (numb_fparam,) frame parameters, (2,) charge and spin.

    Attributes:
        step: steps done.
        state: of JAX-MD's simulator.
        neighbors: the list that the last step used.
    """

    def __init__(
        self, potential: Potential, structure: Structure, dynamics: Dynamics, *, seed: int = 0, skin: float = 1.0,
        margin: float = 1.25, fparam: Any = None, charge_spin: Any = None,
    ):  # fmt: skip
        from jax_md import space  # after dpjax.interfaces.jax_md, which says what to install

        self.potential, self.structure, self.dynamics = potential, structure, dynamics
        npt = dynamics.ensemble == "npt"
        if npt and not all(structure.pbc):
            raise DataError("npt needs a structure that is periodic in all directions; use nvt")
        if npt and float(volume(structure.cell)) < 0:
            raise DataError("npt needs cell vectors that form a right-handed system; exchange two of them")
        with jax.enable_x64(True):
            given = {"fparam": fparam, "charge_spin": charge_spin}
            self._inputs = {name: None if x is None else np.ravel(x).tolist() for name, x in given.items()}
            self.neighbor_fn, self.energy_fn = _functions(potential, structure, skin, margin, given)
            self.simulator = _simulator(dynamics, self.energy_fn, space.free()[1])
            start = jnp.asarray(structure.coord)
            box = {"box": jnp.asarray(structure.cell.T)} if npt else {}
            self.neighbors: Neighbors = self.neighbor_fn.allocate(start, **box)
            self.state = self._started(start, seed, box)
            self._observe, self._evaluate = jax.jit(self._observed), jax.jit(self.energy_fn.evaluate)
        self.step = 0

    def _started(self, start: jax.Array, seed: int, box: dict[str, jax.Array]) -> Any:
        momenta = self.structure.momentum
        if momenta is None and self.dynamics.temperature is None:
            raise ConfigError(
                "temperature: missing; the structure has no velocities, so they are drawn at a temperature, in K"
            )
        options = {"mass": jnp.asarray(self.structure.mass), "neighbor": self.neighbors, **box}
        options["momenta"] = None if momenta is None else jnp.asarray(momenta)
        if self.dynamics.ensemble == "nve":
            options["kT"] = self.dynamics.kT or 0.0  # without effect where there are velocities
        init = jax.jit(lambda key, R, options: self.simulator.init(key, R, **options))  # JAX-MD jits some of them only
        state = init(jax.random.PRNGKey(seed), start, options)
        return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), state)

    def advance(self, n_steps: int) -> None:
        """Do so many steps.

        Raises:
            NonFiniteError, CapacityError: as :func:`dpjax.interfaces.md_chunks.run_chunk`; the simulation is where it was.
        """
        with jax.enable_x64(True):
            self.state, self.neighbors = self.neighbor_fn.run(
                self.simulator.apply, self.state, self.neighbors, n_steps, step=self.step
            )
        self.step += n_steps

    def observe(self) -> dict[str, float]:
        """:data:`COLUMNS` now: ps, eV, K, bar, angstrom^3; NaN where something is not defined."""
        with jax.enable_x64(True):
            values = jax.device_get(self._observe(self.state, self.neighbors))
        row = {name: float(value) for name, value in values.items()}
        return {"step": self.step, "time": self.step * self.dynamics.timestep / 1000.0, **row}

    def snapshot(self) -> dict[str, Any]:
        """``coord``, ``cell``, ``momentum``, ``energy``, ``force`` and, with a cell, ``virial`` now, as NumPy arrays."""
        with jax.enable_x64(True):
            coord, cell = self._real(self.state)
            out = jax.device_get(self._evaluate(self.state.position, self.neighbors, **self._box(self.state)))
        cell = np.asarray(cell) if self.structure.cell is not None else None
        return {"coord": np.asarray(coord), "cell": cell, "momentum": np.asarray(self.state.momentum), **out}

    def _box(self, state: Any) -> dict[str, Any]:
        return {"box": state.box} if self.dynamics.ensemble == "npt" else {}

    def _real(self, state: Any) -> tuple[jax.Array, jax.Array | None]:
        """Coordinates and cell by rows, angstrom."""
        if self.dynamics.ensemble == "npt":
            return state.position, state.box.T
        return state.position, None if self.structure.cell is None else jnp.asarray(self.structure.cell)

    def _observed(self, state: Any, neighbors: Neighbors) -> dict[str, jax.Array]:
        out = self.energy_fn.evaluate(state.position, neighbors, **self._box(state))
        kinetic = 0.5 * jnp.sum(state.momentum**2 / state.mass)
        cell = self._real(state)[1] if all(self.structure.pbc) else None
        space = jnp.nan if cell is None else jnp.abs(volume(cell))
        return {
            "potential": out["energy"],
            "kinetic": kinetic,
            "total": out["energy"] + kinetic,
            "temperature": 2.0 * kinetic / (state.momentum.size * BOLTZMANN),
            "pressure": (2.0 * kinetic + jnp.trace(out["virial"])) / (3.0 * space) / BAR,
            "volume": space,
            "conserved": self.simulator.conserved(state, out["energy"]),
        }

    def saved(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and JSON-able facts from which :meth:`restore` continues exactly."""
        leaves = jax.device_get(jax.tree.leaves(self.state))
        arrays = {f"state_{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
        arrays["atype"] = self.structure.atype
        facts = {
            "format": FORMAT,
            "step": self.step,
            "dynamics": asdict(self.dynamics),
            "inputs": self._inputs,
        }
        listed, sizes = self.neighbor_fn.places.system.stored(self.neighbors)
        return arrays | listed, facts | sizes

    def restore(self, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        """Go on where another simulation of the same structure, dynamics and inputs of the model was saved.

        Raises:
            DataError: of another structure, dynamics or input, or of an npt run of a version that kept fractions of the cell.
        """
        if not np.array_equal(arrays["atype"], self.structure.atype):
            raise DataError(
                f"it is of a structure with {len(arrays['atype'])} other atoms; give the structure that it was started from"
            )
        now, before = asdict(self.dynamics) | self._inputs, facts["dynamics"] | facts.get("inputs", {})
        changed = [f"{key} was {value} and is {now[key]}" for key, value in before.items() if now[key] != value]
        if changed:
            raise DataError(f"{'; '.join(changed)}: a run continues with the options it began with")
        if self.dynamics.ensemble == "npt" and facts.get("format", 1) < 2:
            raise DataError(
                "it is of an npt run of an earlier version, which kept fractions of the cell and whose conserved quantity "
                "drifted; start a new run from the last frame of the trajectory"
            )
        with jax.enable_x64(True):
            leaves, tree = jax.tree.flatten(self.state)
            own = [jnp.asarray(arrays[f"state_{i}"], leaf.dtype) for i, leaf in enumerate(leaves)]
            self.state = jax.tree.unflatten(tree, own)
            self.neighbors = self.neighbor_fn.places.system.restored(arrays, facts)
        self.step = int(facts["step"])


def minimized(
    potential: Potential,
    structure: Structure,
    most: int,
    tolerance: float = 0.01,
    *,
    skin: float = 1.0,
    fparam: Any = None,
    charge_spin: Any = None,
) -> tuple[Structure, float, int]:
    """The structure after at most ``most`` steps of JAX-MD's FIRE, in its cell, without velocities.

    No atom moves farther in one step than :data:`LONGEST_STEP`: FIRE alone would throw atoms apart where forces are large.

    Args:
        tolerance: eV/angstrom; ends when no component of a force is larger.
        fparam, charge_spin: as for :class:`Simulation`.

    Returns:
        The structure, the largest force component, and the number of steps.
    """
    from jax_md import minimize, space

    with jax.enable_x64(True):
        given = {"fparam": fparam, "charge_spin": charge_spin}
        neighbor_fn, energy_fn = _functions(potential, structure, skin, 1.25, given)
        start = jnp.asarray(structure.coord)
        neighbors = neighbor_fn.allocate(start)
        init, apply = minimize.fire_descent(energy_fn, _short_steps(space.free()[1], min(LONGEST_STEP, skin / 4.0)))
        state, done = jax.jit(lambda R, neighbors: init(R, neighbor=neighbors))(start, neighbors), 0
        while done < most and float(jnp.max(jnp.abs(state.force))) > tolerance:
            n = min(10, most - done)
            state, neighbors = neighbor_fn.run(apply, state, neighbors, n, step=done)
            done += n
        found = replace(structure, coord=np.asarray(state.position), momentum=None)
        return found, float(jnp.max(jnp.abs(state.force))), done


def _short_steps(shift: Callable, longest: float) -> Callable:
    """JAX-MD's ``shift`` with all displacements scaled down where the largest is above ``longest``, angstrom."""

    def limited(R: jax.Array, dR: jax.Array, **options: Any) -> jax.Array:
        most = jnp.sqrt(jnp.max(jnp.sum(dR * dR, axis=-1), initial=0.0))
        return shift(R, dR * jnp.minimum(1.0, longest / jnp.maximum(most, longest)), **options)

    return limited


def _functions(potential, structure: Structure, skin, margin, inputs) -> tuple[NeighborFn, EnergyFn]:
    """Of angstrom, not of fractions of the cell, also where the cell changes: JAX-MD's npt integrator multiplies coordinates by the
    growth of the cell, and of fractions that would be a motion that no force asked for."""
    require_no_spins(potential.config, "`dpjax md`, whose structures have no spins,")
    box = None if structure.cell is None else structure.cell.T
    return neighbor_fn_and_energy(
        potential, box, structure.atype, fractional_coordinates=False, pbc=structure.pbc, skin=skin,
        capacity_multiplier=margin, **inputs,
    )  # fmt: skip


def _simulator(dynamics: Dynamics, energy_fn: EnergyFn, shift: Callable) -> Simulator:
    from jax_md import simulate

    dt, kT = dynamics.dt, dynamics.kT
    times = {"tau": dynamics.thermostat_time / TIME_FS} if dynamics.thermostat_time else {}
    if dynamics.ensemble == "nve":
        return Simulator(
            *simulate.nve(energy_fn, shift, dt), lambda state, energy: energy + simulate.kinetic_energy(state)
        )
    if dynamics.ensemble == "npt":
        pressure = dynamics.pressure * BAR
        barostat = {"tau": dynamics.barostat_time / TIME_FS} if dynamics.barostat_time else {}
        pair = simulate.npt_nose_hoover(
            energy_fn, shift, dt, pressure, kT, barostat_kwargs=barostat, thermostat_kwargs=times
        )
        return Simulator(*pair, _invariant(simulate.npt_nose_hoover_invariant, pressure, kT))
    if dynamics.thermostat == "langevin":
        pair = simulate.nvt_langevin(energy_fn, shift, dt, kT, gamma=dynamics.friction * TIME_FS / 1000.0)
        return Simulator(*pair, lambda state, energy: jnp.nan)
    pair = simulate.nvt_nose_hoover(energy_fn, shift, dt, kT, **times)
    return Simulator(*pair, _invariant(simulate.nvt_nose_hoover_invariant, kT))


def _invariant(invariant: Callable, *targets: float) -> Callable[[Any, jax.Array], jax.Array]:
    """JAX-MD's conserved quantity with the potential energy that is known already."""
    return lambda state, energy: invariant(lambda R, **_: energy, state, *targets)
