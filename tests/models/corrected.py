"""A tiny model with the modifier of the fixture ``dipole_charge``, for tests of what evaluates such models."""

from __future__ import annotations

import functools
import json
from typing import Any

import dpjax
from tests.contracts.cases import model, se_e2_a
from tests.shared import golden


@functools.cache
def corrected(spacing: float = 1.2, **options: Any) -> dpjax.Potential:
    """A potential of O and H, untrained, with the trained dipole model; a coarse grid makes sums short.

    Args:
        spacing: option ``ewald_h`` of the modifier, angstrom.
        options: of :func:`tests.contracts.cases.model`.
    """
    section = json.loads(golden("dipole_charge", "modifier.json").read_text())
    section |= {"model_name": str(golden("dipole_charge", "model.dp")), "ewald_h": spacing}
    return dpjax.build({**model(se_e2_a(), **options), "modifier": section}, seed=0)
