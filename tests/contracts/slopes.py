"""Slopes of a case's outputs and their derivatives, whether or not the model itself gives forces."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from dpjax.models import predict
from tests.contracts.bench import QUICK
from tests.contracts.outputs import has_force


class SecondDerivatives:
    """Derivatives of a random projection of all slopes with respect to parameters and coordinates, compiled once.

    Slopes are forces; of an output of several numbers, those of a random mixture of them; of one without forces, minus its
    derivative by the coordinates.
    """

    def __init__(self, bench):
        self.bench = bench
        rng, shape = np.random.default_rng(1), bench.output.shape
        self.probe = rng.normal(size=(bench.layout.n_atom, 3))
        self.weights = rng.normal(size=shape) if shape else np.ones(())
        self._program = jax.jit(jax.grad(self._projection, argnums=(0, 1), has_aux=True), compiler_options=QUICK)

    def mixed(self, force):
        """(n_atom, 3) of the forces (n_atom, *output.shape, 3)."""
        return jnp.einsum("i...a,...->ia", force, self.weights)

    def _slopes(self, params, coord, batch):
        model, output, grid = self.bench.model, self.bench.output, self.bench.case.grid
        variables = self.bench.variables | {"params": params}

        def outputs(coord):
            return predict(model, variables, batch.replace(coord=coord), atomic=True, grid=grid)

        if has_force(output):
            return self.mixed(outputs(coord)["force"])
        return -jax.grad(lambda coord: jnp.sum(outputs(coord)[output.total] * self.weights[None]))(coord)

    def _projection(self, params, coord, batch):
        slopes = self._slopes(params, coord, batch)
        return jnp.sum(slopes * jnp.where(batch.atype >= 0, 1.0, 0.0)[:, None] * self.probe), slopes

    def _run(self, batch):
        return jax.device_get(self._program(self.bench.variables["params"], jnp.asarray(batch.coord), batch))

    def __call__(self, batch):
        """Derivatives by parameters and by coordinates."""
        return self._run(batch)[0]

    def slopes(self, s) -> np.ndarray:
        """(n, 3) of one structure; forces are those that the model gives."""
        if has_force(self.bench.output):
            return np.asarray(self.mixed(self.bench(s)[0]["force"]))
        batch, (places,) = self.bench.pack([s])
        return self._run(batch)[1][places]
