"""Rules of options that several descriptors have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dpjax.config.checks import (
    check_activation,
    check_at_least,
    check_cutoff,
    check_elements,
    check_neuron,
    check_precision,
    check_sel,
    check_sel_in_all,
    check_type_pairs,
)
from dpjax.config.problems import Problem
from dpjax.config.schema import Context
from dpjax.config.suggestions import join


def check_environment(cfg: Any, path: str, context: Context) -> Iterator[Problem]:
    """Precision, exclusions and the protection of denominators."""
    yield from check_precision(cfg.precision, join(path, "precision"))
    yield from check_type_pairs(cfg.exclude_types, context.type_map, join(path, "exclude_types"))
    yield from check_at_least(cfg, 0, ["env_protection"], path)


def check_activation_and_environment(cfg: Any, path: str, context: Context) -> Iterator[Problem]:
    """The activation function of the nets, then :func:`check_environment`."""
    yield from check_activation(cfg.activation_function, join(path, "activation_function"))
    yield from check_environment(cfg, path, context)


def check_per_type_nets(cfg: Any, path: str, context: Context) -> Iterator[Problem]:
    """All rules of descriptors with embedding nets per type, whatever becomes of the embedding."""
    yield from check_cutoff(cfg.rcut, cfg.rcut_smth, path)
    yield from check_sel(cfg.sel, context.type_map, join(path, "sel"))
    yield from check_neuron(cfg.neuron, join(path, "neuron"))
    yield from check_activation_and_environment(cfg, path, context)


def check_common_nets(cfg: Any, path: str, context: Context) -> Iterator[Problem]:
    """Cut-off, neighbours and widths of descriptors whose embedding nets tell types apart by vectors."""
    yield from check_cutoff(cfg.rcut, cfg.rcut_smth, path)
    yield from check_elements(cfg.use_econf_tebd, context.type_map, join(path, "use_econf_tebd"))
    yield from check_sel_in_all(cfg.sel, context.type_map, join(path, "sel"))
    yield from check_neuron(cfg.neuron, join(path, "neuron"))
