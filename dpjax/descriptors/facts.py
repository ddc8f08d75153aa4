"""What the rest of the package must know of a descriptor before it is built, from its configuration alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from dpjax.batching.inner import InnerCut
from dpjax.batching.lists import ListPlan
from dpjax.config.descriptors import DESCRIPTORS
from dpjax.config.descriptors.kinds import ANGLES, BY_TYPE, MESSAGES, OWN_CUT, PAIRS
from dpjax.errors import ConfigError
from dpjax.nn.blocks import listed_block


def members(config: Any) -> tuple[Any, ...]:
    """The descriptors that make up a descriptor: those of a hybrid, or of a model of several parts, or itself."""
    return getattr(config, "list", (config,))


def is_one_of(config: Any, kind: Collection[str]) -> bool:
    """Whether a descriptor is of one of these types, of which ``config.descriptors.kinds`` has sets; a block of one is of none."""
    return any(type(config) is DESCRIPTORS[name].config for name in kind)


def has_type_networks(config: Any) -> bool:
    """Whether a descriptor (not a hybrid) has networks per type; the others tell types apart by vectors."""
    return is_one_of(config, BY_TYPE)


def is_by_type(config: Any) -> bool:
    """Whether atoms and neighbours must come in sections by type: some member has networks per type."""
    return any(map(has_type_networks, members(config)))


def is_mixed(config: Any) -> bool:
    """Whether some member tells types apart by vectors."""
    return not all(map(has_type_networks, members(config)))


def has_one_fitting_net(config: Any) -> bool:
    """Whether the fitting of a model (not a descriptor) has one network for all types: it, or its descriptor, has type vectors."""
    return config.type_embedding is not None or is_mixed(config.descriptor)


def passes_messages(config: Any) -> bool:
    """Whether an atom's values depend on more than its own neighbours: some member runs for all atoms together."""
    return any(is_one_of(member, MESSAGES) for member in members(config))


def sees_parameters(config: Any) -> bool:
    """Whether some member takes atomic parameters of an atom's neighbours."""
    return any(getattr(member, "near_parameters", 0) for member in members(config))


def works_on_pairs(config: Any) -> bool:
    """Whether the memory for an atom grows with the square of the number of its neighbours: in angles, or attention."""
    return any(is_one_of(m, PAIRS) and getattr(m, "attn_layer", 1) > 0 for m in members(config))


def embedded_pairs(config: Any, width: int) -> int:
    """Pairs of neighbours that embedding networks run for, of an atom whose table has ``width`` slots; 0 without angles."""
    total = 0
    for member in members(config):
        if is_one_of(member, ANGLES):
            n = min(int(width), sum(kept(member)))
            both_orders = getattr(member, "tebd_input_mode", None) == "concat"  # elsewhere they are alike
            total += n * n if both_orders else n * (n + 1) // 2
    return total


class Selection(NamedTuple):
    """A list of neighbours whose length is an option."""

    rcut: float  # angstrom
    sel: int | tuple[int, ...] | str  # "auto..." until it is resolved from data


def selections(config: Any) -> dict[tuple[str, ...], Selection]:
    """The lists of a descriptor (not a hybrid), by the path of their option in the descriptor's section."""
    if is_one_of(config, ("dpa3",)):
        flow = config.repflow
        return {
            ("repflow", "e_sel"): Selection(flow.e_rcut, flow.e_sel),
            ("repflow", "a_sel"): Selection(flow.a_rcut, flow.a_sel),
        }
    if is_one_of(config, ("dpa2",)):
        outer, inner = config.repinit, config.repformer
        third = {("repinit", "three_body_sel"): Selection(outer.three_body_rcut, outer.three_body_sel)}
        return {
            ("repinit", "nsel"): Selection(outer.rcut, outer.nsel),
            ("repformer", "nsel"): Selection(inner.rcut, inner.nsel),
            **(third if outer.use_three_body else {}),
        }
    return {("sel",): Selection(config.rcut, config.sel)}


def with_selections(config: Any, sels: Mapping[tuple[str, ...], int | tuple[int, ...]]) -> Any:
    """A descriptor's configuration with other lengths of its lists, by the paths of :func:`selections`."""
    for path, sel in sels.items():
        inner = {path[-1]: sel}
        config = replace(config, **(inner if len(path) == 1 else {path[0]: replace(getattr(config, path[0]), **inner)}))
    return config


def list_plan(config: Any, block: int | None = None) -> ListPlan | None:
    """What a batch lists for a model with this descriptor beside its neighbour table; None: nothing.

    Args:
        block: atoms whose edges and angles are listed together; None: as many as suit the backend.
    """
    if not is_one_of(config, ("dpa3",)) or not config.repflow.use_dynamic_sel:
        return None
    flow = config.repflow
    return ListPlan(flow.e_rcut, flow.a_rcut, flow.e_sel, flow.a_sel, listed_block() if block is None else block)


def inner_cuts(config: Any) -> tuple[InnerCut, ...]:
    """The lists, of members that pass messages, which reach less far than the table of the model."""
    rcut = cutoff(config)
    passing = [member for member in members(config) if is_one_of(member, MESSAGES) and list_plan(member) is None]
    found = {(own.rcut, own.sel) for member in passing for own in selections(member).values() if own.rcut < rcut}
    return tuple(InnerCut(*own) for own in sorted(found))


def unresolved(config: Any) -> tuple[str, str] | None:
    """Option below the descriptor's section, and its value, that is to be resolved from data; None: there is none."""
    for path, selection in selections(config).items():
        if isinstance(selection.sel, str):
            return "/".join(path), selection.sel
    return None


def cutoff(config: Any) -> float:
    """Cut-off of the neighbour table that a descriptor needs, angstrom."""
    return max(member.rcut for member in members(config))


def kept(config: Any) -> tuple[int, ...]:
    """How many neighbours a descriptor (not a hybrid) keeps: of each type where it has networks per type, else of all.

    Raises:
        ConfigError: ``sel`` is still ``auto`` (it is resolved from data before a model is built).
    """
    if waiting := unresolved(config):
        raise ConfigError(
            f"model/descriptor/{waiting[0]}: found {waiting[1]!r}, which only training can resolve because it counts neighbours in "
            "the training data. Give numbers; `dpjax neighbor-stat` suggests them."
        )
    if has_type_networks(config):
        return config.sel
    return (config.sel if isinstance(config.sel, int) else sum(config.sel),)


def listed_neighbors(config: Any) -> int:
    """How many neighbours of any type a descriptor is handed at most, of which it keeps its own."""
    numbers = [kept(member) for member in members(config)]
    if is_mixed(config):
        return max(map(sum, numbers))
    return sum(map(max, zip(*numbers, strict=True)))


def capacity(config: Any, n_type: int) -> tuple[int | None, ...]:
    """Neighbours of each section of the table that count: as many as any member keeps.

    None where some members keep so many of each type and others so many of all, or choose by a rule of their own, or see some of
    the atoms at a time, which no number for each section says.
    """
    if getattr(config, "in_terms", False):
        return (None,) * (n_type if is_by_type(config) else 1)
    if (is_by_type(config) and is_mixed(config)) or any(is_one_of(member, OWN_CUT) for member in members(config)):
        return (None,) * n_type
    return tuple(map(max, zip(*map(kept, members(config)), strict=True)))
