"""Layers as loops over layers and blocks give what they give one after another on all atoms at once."""

from __future__ import annotations

from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.nn import blocks
from dpjax.nn.blocks import Work
from dpjax.nn.repeated import blockwise, in_blocks, repeated

N_ATOM, N_LAYER, WIDTH = 24, 4, 40


class Layer(nn.Module):
    """Atoms see the mean of all, and then each itself."""

    def setup(self):
        self.matrix = self.param("matrix", nn.initializers.normal(0.5), (2, 2), float)

    def __call__(self, state, others, *, work):
        mean = jnp.broadcast_to(jnp.mean(state, axis=0), state.shape)
        return in_blocks(self, Layer.each, (state, mean, others), N_ATOM, WIDTH, work, within=True)

    def each(self, state, mean, others):
        """With an array of ``WIDTH`` numbers for each atom in between."""
        wide = jnp.sin((state @ self.matrix)[:, None] * jnp.linspace(0.1, 2.0, WIDTH)[None, :, None])
        return state + jnp.mean(wide, axis=1) + others * mean


class Layers(nn.Module):
    work: Work

    def setup(self):
        self.layers = [Layer() for _ in range(N_LAYER)]

    def __call__(self, state, others):
        return repeated(self.layers, state, others, work=self.work)


def inputs():
    rng = np.random.default_rng(0)
    state, others = rng.standard_normal((2, N_ATOM, 2))
    params = {f"layers_{i}": {"matrix": rng.standard_normal((2, 2))} for i in range(N_LAYER)}
    return {"params": params}, state, others


def second(work: Work):
    """A function whose value is made of first derivatives, as the loss of forces is."""

    def loss(variables, state, others):
        force = jax.grad(lambda state: jnp.sum(Layers(work).apply(variables, state, others) ** 2))(state)
        return jnp.sum(force**2)

    return jax.jit(jax.value_and_grad(loss))


def one_after_another(variables, state, others):
    for i in range(N_LAYER):
        layer = Layer().bind({"params": variables["params"][f"layers_{i}"]})
        state = layer.each(state, jnp.broadcast_to(jnp.mean(state, axis=0), state.shape), others)
    return state


@pytest.mark.parametrize("work", [Work(), Work(recompute=False), Work(4), Work(1, recompute=False)], ids=str)
def test_values_and_derivatives_do_not_depend_on_how_the_work_is_divided(work):
    given = inputs()
    np.testing.assert_allclose(Layers(work).apply(*given), one_after_another(*given), rtol=1e-13)
    value, gradient = second(work)(*given)

    def plain(variables, state, others):
        force = jax.grad(lambda state: jnp.sum(one_after_another(variables, state, others) ** 2))(state)
        return jnp.sum(force**2)

    expected, wanted = jax.value_and_grad(plain)(*given)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for own, other in zip(jax.tree.leaves(gradient), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-9)


def test_computing_again_saves_memory():
    def memory(work):
        return second(work).lower(*inputs()).compile().memory_analysis().temp_size_in_bytes

    assert memory(Work(4)) < 0.5 * memory(Work(4, recompute=False)) and memory(Work(4)) < memory(Work(recompute=False))


def test_blocks_that_are_no_part_of_a_layer_keep_nothing_for_the_second_derivative():
    rng = np.random.default_rng(1)
    matrix, state = rng.standard_normal((2, 2)), rng.standard_normal((N_ATOM, 2))

    def wide(matrix, own):
        return jnp.mean(
            jnp.sin(jnp.tanh((own @ matrix)[:, None] * jnp.linspace(0.1, 2.0, WIDTH)[None, :, None])), axis=1
        )

    def compiled(work, within=False):
        def energy(state, matrix):
            return jnp.sum(blockwise(wide, matrix, state, N_ATOM, WIDTH, work, within=within) ** 2)

        def loss(matrix):
            return jnp.sum(jax.grad(energy)(state, matrix) ** 2)

        return jax.jit(jax.grad(loss)).lower(matrix).compile()

    again, once, kept = compiled(Work(2)), compiled(Work(2), within=True), compiled(Work(2, recompute=False))
    np.testing.assert_allclose(again(matrix), kept(matrix), rtol=1e-12)
    memory = [program.memory_analysis().temp_size_in_bytes for program in (again, once, kept)]
    assert memory[0] < 0.5 * memory[1] < memory[2]


@pytest.mark.parametrize(("whole", "bytes_kept"), [(96 << 30, 12 << 30), (24 << 30, 4 << 30), (float("inf"), 4 << 30)])
def test_a_quarter_of_the_machine_is_for_what_is_kept_by_all_its_devices(monkeypatch, whole, bytes_kept):
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    monkeypatch.setattr(blocks, "whole_memory", lambda: whole)
    assert blocks.room() == bytes_kept


def test_what_fits_is_kept_where_nothing_was_said():
    most = blocks.room()
    assert not Work().decided(1, most).recomputes and Work().decided(1, most + 1).recomputes
    assert Work().decided(1, 2, most // 2) == Work(recompute=False)
    assert Work().decided(1, most, "symbol") == Work() and Work().recomputes  # nobody knows
    assert Work(recompute=True).decided(1, 0).recomputes and not Work(recompute=False).decided(1, most + 1).recomputes
    number = blocks.ONE_BY_ONE
    assert (
        not Work().decided(number, 0).recomputes and Work().decided(number + 1, 0).recomputes
    )  # a loop would stack it up


@pytest.mark.parametrize(
    ("stats", "bytes_kept"), [({"bytes_limit": 80 << 30}, 20 << 30), ({}, 4 << 30), (None, 4 << 30)]
)
def test_a_quarter_of_an_accelerator_is_for_what_is_kept(monkeypatch, stats, bytes_kept):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "local_devices", lambda: [SimpleNamespace(memory_stats=lambda: stats)])
    assert blocks.room() == bytes_kept
