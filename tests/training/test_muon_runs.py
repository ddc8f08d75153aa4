"""A whole training with HybridMuon: it learns, goes on from a checkpoint bit by bit, and follows ``dpjax/muon_precision``."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import dpjax
from dpjax.checkpoints import load_checkpoint
from tests.training import tiny


def leaves(checkpoint) -> list[np.ndarray]:
    """Parameters and optimizer state."""
    arrays = load_checkpoint(checkpoint)[0]
    return [np.asarray(leaf) for leaf in jax.tree.leaves((arrays["params"], arrays["opt_state"]))]


@pytest.mark.slow
def test_a_run_its_restart_and_the_other_precision(tmp_path):
    system = tiny.system(tmp_path / "data")
    config = tiny.config(
        [system],
        tiny.ENERGY_ONLY
        | {"optimizer": {"type": "HybridMuon"}, "training/gradient_max_norm": 1.0, "training/numb_steps": 4},
    )
    whole = dpjax.train(config, tmp_path / "whole")
    again = dpjax.train(config, tmp_path / "again", restart=tmp_path / "whole" / "model.ckpt-3")
    for a, b in zip(leaves(whole.checkpoint), leaves(again.checkpoint), strict=True):
        assert a.tobytes() == b.tobytes()
    full = dpjax.train(tiny.edited(config, {"dpjax/muon_precision": "full"}), tmp_path / "full")
    pairs = list(zip(leaves(whole.checkpoint), leaves(full.checkpoint), strict=True))
    apart = [float(np.abs(a - b).max()) for a, b in pairs if a.ndim == 2]
    assert 0.0 < max(apart) < 0.05  # the two differ by their rounding
    assert {b.dtype for a, b in pairs if b.ndim} == {np.dtype(np.float64)}
    assert np.dtype(np.float32) in {a.dtype for a, b in pairs}
