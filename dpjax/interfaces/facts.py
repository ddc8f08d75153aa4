"""Numbers that describe a model: for ``dpjax show``, and for what asks as DeePMD-kit's tools do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpjax.interfaces.potential import Potential

OBSERVED_BIAS = 1e-6  # eV; types without atoms in the training data keep a bias of zero, and this is DeePMD-kit's limit


def parameter_counts(potential: Potential) -> dict[str, int]:
    """Numbers that training changes, in each part of the model."""
    return {name: _count(tree) for name, tree in potential.variables["params"].items()}


def network_sizes(potential: Potential) -> dict[str, int]:
    """Numbers that training changes in descriptors and in fitting nets, of all parts of the model."""
    params = potential.variables["params"]
    parts = [params] if "descriptor" in params else list(params.values())
    return {name: sum(_count(part[name]) for part in parts) for name in ("descriptor", "fitting_net")}


def observed_types(potential: Potential) -> list[str]:
    """Names of the types that the bias was fitted for, in the order of the type map."""
    bias = potential.variables["stats"]["out_bias"]
    return [name for name, row in zip(potential.type_map, bias) if abs(row).max() > OBSERVED_BIAS]


def _count(tree: Any) -> int:
    return sum(_count(branch) for branch in tree.values()) if hasattr(tree, "values") else int(tree.size)
