"""What a loss has to know about the model whose predictions it compares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dpjax.config import ModelConfig


def model_facts(config: ModelConfig, stats: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """All that any loss takes from its model, by the names that ``losses.from_config`` knows.

    Args:
        config: of the model.
        stats: collection ``stats`` of its variables; without it there are no ``out_bias`` and ``out_std``.
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
    return facts | ({} if stats is None else {name: stats[name][0] for name in ("out_bias", "out_std")})
