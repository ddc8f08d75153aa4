"""What a loss has to know about the model whose predictions it compares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dpjax.config import ModelConfig


def model_facts(config: ModelConfig, stats: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """All that any loss takes from its model, by the names that ``losses.from_config`` knows.

    Args:
        config: of the model.
        stats: collection ``stats`` of its variables; without it there are no ``out_bias`` and ``out_std``, nor, of a model that
            gives forces directly, ``energy_std`` and ``force_rmsd``.
    """
    output = config.fitting_net.output
    facts = {
        "var_name": output.label,
        "task_dim": output.size,
        "intensive": output.intensive,
        "numb_dos": output.size,
        "tensor_name": output.atomic,
        "label_name": output.label,
        "tensor_size": output.size,
    }
    if stats is None:
        return facts
    facts |= {name: stats[name][0] for name in ("out_bias", "out_std")}
    if config.direct_forces:
        facts |= {"energy_std": stats["out_std"][0, 0], "force_rmsd": stats["dens_force_rmsd"]}
    return facts
