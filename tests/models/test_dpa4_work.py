"""dpa4 with what its blocks need kept or computed again, at once or in blocks of atoms: the same numbers."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from dpjax.batching import Frame, choose_layout, pack
from dpjax.models import predict
from dpjax.neighbors import search
from dpjax.nn import blocks
from dpjax.nn.blocks import Work
from tests.contracts.cases import dpa4, model, potential
from tests.contracts.structures import make

pytestmark = pytest.mark.slow

WAYS = [Work(recompute=False), Work(recompute=True), Work(block=4, recompute=False)]


@pytest.mark.parametrize("one_by_one", [2, 1])
def test_how_the_work_is_divided_changes_nothing(one_by_one, monkeypatch):
    """Of two blocks, one by one or in a loop: energies, forces, and a derivative of both by all parameters."""
    monkeypatch.setattr(blocks, "ONE_BY_ONE", one_by_one)
    descriptor = dpa4(lmax=1, exclude_types=[[0, 0]])
    pot = potential(model(descriptor, type="dpa4", fitting={"type": "dpa4_ener", "neuron": [4]}))
    s = make("crystal", numbers=(3, 4), seed=2)
    frames = [Frame(s.coord, s.atype, search(s.coord, s.atype, 2, pot.rcut, s.cell), s.cell)]
    batch, _ = pack(frames, choose_layout(frames, pot.model.n_section, pot.model.sel))

    def values(work: Work):
        def loss(params):
            out = predict(pot.model, {**pot.variables, "params": params}, batch, work=work)
            return (out["force"] ** 2).sum() + out["energy"].sum(), out

        with jax.enable_x64(True):
            (_, out), slopes = jax.jit(jax.value_and_grad(loss, has_aux=True))(pot.variables["params"])
        return jax.tree.leaves((out["energy"], out["force"], slopes))

    want = values(WAYS[0])
    for work in WAYS[1:]:
        for got, expected in zip(values(work), want, strict=True):
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * max(1.0, np.abs(expected).max()))
