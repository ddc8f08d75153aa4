"""Products of float32 matrices: on accelerators they keep all digits unless the caller says otherwise."""

from __future__ import annotations

import contextlib
import re
from functools import partial

import jax
import jax.numpy as jnp
import pytest

from dpjax.batching import Frame, choose_layout, pack
from dpjax.models import batch_geometry, predict
from dpjax.neighbors import search
from dpjax.nn.chebyshev import Grid
from tests.contracts.cases import model, potential, se_e2_a
from tests.contracts.structures import make

SECTION = model(se_e2_a(neuron=[3, 6], precision="float32"), fitting={"neuron": [4], "precision": "float32"})


def found(pot, fn) -> set[str]:
    """Precisions of the products of float32 matrices in the program of ``fn(variables, batch)``."""
    s = make("cluster", numbers=(2, 1), seed=2)
    frames = [Frame(s.coord, s.atype, search(s.coord, s.atype, 2, pot.rcut, s.cell), s.cell)]
    batch, _ = pack(frames, choose_layout(frames, pot.model.n_section, pot.model.sel))
    text = jax.jit(fn).lower(pot.variables, jax.tree.map(jnp.asarray, batch)).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line and "f32" in line]
    return {
        name for line in products for name in re.findall(r"precision = \[(\w+), (\w+)\]", line) or [("none", "none")]
    }


@pytest.mark.parametrize(("chosen", "expected"), [(None, "HIGHEST"), ("tensorfloat32", "HIGH")])
@pytest.mark.parametrize("grid", [None, Grid(4, 4, 4)])
def test_a_program_of_the_functional_core_keeps_all_digits_unless_asked(chosen, expected, grid):
    pot = potential(SECTION)
    with contextlib.nullcontext() if chosen is None else jax.default_matmul_precision(chosen):
        got = found(pot, partial(predict, pot.model, hessian=3, grid=grid))
    assert got == {(expected, expected)}


def test_also_the_derivative_that_a_user_takes():
    """Of ``pot.model.apply``, whose backward pass is traced outside of dpjax."""
    pot = potential(SECTION)

    def energy(variables, batch):
        return jnp.sum(pot.model.apply(variables, batch_geometry(batch), batch)["atom_energy"])

    assert found(pot, jax.grad(energy)) == {("HIGHEST", "HIGHEST")}
