"""How many atoms are worked on at once."""

from __future__ import annotations

import jax
import pytest

from dpjax.config import parse_model
from dpjax.descriptors.facts import embedded_pairs
from dpjax.nn import blocks
from dpjax.nn.blocks import block_size
from tests.contracts.cases import model, se_e2_a, se_e3, se_e3_tebd


@pytest.mark.parametrize(
    ("n_atom", "arguments", "size"),
    [
        (192, {}, 32),
        (192, {"largest": 128}, 64),
        (48, {}, 16),
        (24, {}, 24),
        (40, {}, 40),  # no block divides it
        (192, {"requested": 12}, 12),
        (192, {"requested": 7}, 192),
        (192, {"pairs": 100}, 16),
        (192, {"pairs": 1000}, 2),
        (192, {"pairs": 9000}, 1),
        (9, {"pairs": 1000}, 1),
        (9, {"pairs": 100}, 9),
    ],
)
def test_blocks_on_a_cpu(n_atom, arguments, size, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert block_size(n_atom, **arguments) == size


def test_an_accelerator_takes_all_that_its_memory_holds(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert block_size(160_000) == 160_000
    assert block_size(1024, pairs=1000) == 1024
    assert block_size(16_000, pairs=1000) == 128  # the largest power of 2 in it
    assert block_size(16_384, pairs=blocks.DEVICE_PAIRS // 4096) == 4096


def test_pairs_of_neighbours_whose_angle_is_embedded():
    def pairs(descriptor, width):
        return embedded_pairs(parse_model(model(descriptor)).descriptor, width)

    assert pairs(se_e2_a(), 48) == 0
    assert pairs(se_e3_tebd(), 40) == 40 * 40
    assert pairs(se_e3_tebd(sel=10), 40) == 10 * 10
    assert pairs(se_e3_tebd(tebd_input_mode="strip"), 40) == 40 * 41 // 2
    assert pairs({"type": "hybrid", "list": [se_e2_a(), se_e3(sel=[4, 6])]}, 40) == 10 * 11 // 2


def test_second_derivatives_of_as_many_atoms_as_fit_into_memory(monkeypatch):
    assert blocks.atoms_at_once(100, 40, 10) == 1  # on a CPU
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert blocks.atoms_at_once(100, 40, 10) == 10
    assert blocks.atoms_at_once(1000, 40, 500) == blocks.DEVICE_TANGENTS // (3 * 1000 * 40)
    assert blocks.atoms_at_once(100_000, 100, 500) == 1
