"""Models with spins as models of twice the types: each type, then the virtual atom that stands for its spin.

The virtual atom of atom i is at ``r_i + scale * spin_i`` (Yang et al., Phys. Rev. B 110, 064427, 2024); it is a neighbour, and no
more: it has no energy of its own.  Types without spin have a virtual partner, too, which is not there; DeePMD-kit keeps its place
among the parameters and excludes it from every pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from dpjax.config.descriptors import DESCRIPTORS
from dpjax.config.descriptors.dpa4 import DPA4_NAMES
from dpjax.config.descriptors.hybrid import HybridConfig
from dpjax.config.descriptors.kinds import BY_TYPE
from dpjax.config.fittings.outputs import ENERGY
from dpjax.config.models.spin import SpinConfig
from dpjax.config.problems import Problem
from dpjax.config.suggestions import join, show

SUFFIX = "_spin"  # of the names of virtual partners
PROTECTION = 0.01  # angstrom; env_protection where the input has none, as virtual atoms come close to their own
SEEING = (
    "se_e2_a",
    "se_e2_r",
    "se_e3",
    "se_e3_tebd",
    "se_atten",
    "se_atten_v2",
    "dpa2",
    "dpa3",
)  # that may see virtual atoms


def with_virtual_atoms(cfg: Any) -> Any:
    """The configuration of a model (``ModelConfig``) over all types, virtual partners included; others as they are."""
    if cfg.spin is None or cfg.spin.native or not cfg.type_map or cfg.virtual_scale:
        return cfg
    n_type, carriers = len(cfg.type_map), cfg.spin.carriers(cfg.type_map)
    absent = [n_type + t for t, on in enumerate(carriers) if not on]
    pairs = tuple((a, b) for a in absent for b in range(2 * n_type)) + tuple(map(tuple, cfg.pair_exclude_types))
    preset = cfg.preset_out_bias and {name: (*own, *(None,) * n_type) for name, own in cfg.preset_out_bias.items()}
    fitting = cfg.fitting_net
    if getattr(fitting, "atom_ener", ()):
        fitting = replace(fitting, atom_ener=(*fitting.atom_ener, *(None,) * n_type))
    return replace(
        cfg,
        type_map=(*cfg.type_map, *(name + SUFFIX for name in cfg.type_map)),
        virtual_scale=cfg.spin.scales(cfg.type_map),
        pair_exclude_types=pairs,
        atom_exclude_types=tuple(sorted({*cfg.atom_exclude_types, *range(n_type, 2 * n_type)})),
        preset_out_bias=preset,
        descriptor=_with_partners(cfg.descriptor, pairs),
        fitting_net=fitting,
    )


def _with_partners(descriptor: Any, pairs: tuple[tuple[int, int], ...]) -> Any:
    """A descriptor that sees virtual atoms as types of their own."""
    if isinstance(descriptor, HybridConfig):
        return HybridConfig(tuple(_with_partners(member, pairs) for member in descriptor.list))
    own = tuple(pair for pair in map(tuple, descriptor.exclude_types) if pair not in pairs)
    changed = {"exclude_types": (*pairs, *own), "env_protection": descriptor.env_protection or PROTECTION}
    if _is_by_type(descriptor):
        changed["sel"] = descriptor.sel if isinstance(descriptor.sel, str) else (*descriptor.sel, *descriptor.sel)
    return replace(descriptor, **changed)


def _is_by_type(descriptor: Any) -> bool:
    return any(type(descriptor) is DESCRIPTORS[name].config for name in BY_TYPE)


def without_partners(section: dict[str, Any], spin: dict[str, Any]) -> dict[str, Any]:
    """The model section of an input whose :func:`with_virtual_atoms` is the model that ``section`` describes over all types.

    Args:
        section: of a standard model with twice the types.
        spin: its ``spin`` section.
    """
    n_type = len(section["type_map"]) // 2
    carriers = SpinConfig(use_spin=tuple(spin["use_spin"])).carriers(tuple(section["type_map"][:n_type]))
    absent = {n_type + t for t, on in enumerate(carriers) if not on}
    made = {(a, b) for a in absent for b in range(2 * n_type)}
    pairs = [list(pair) for pair in section.get("pair_exclude_types") or () if tuple(pair) not in made]
    out = section | {
        "type_map": list(section["type_map"][:n_type]),
        "pair_exclude_types": pairs,
        "atom_exclude_types": [t for t in section.get("atom_exclude_types") or () if t < n_type],
        "descriptor": _without_partners(section["descriptor"], made | set(map(tuple, pairs)), n_type),
        "spin": spin,
    }
    if out.get("preset_out_bias"):
        out["preset_out_bias"] = {name: own[:n_type] for name, own in out["preset_out_bias"].items()}
    if out["fitting_net"].get("atom_ener"):
        out["fitting_net"] = out["fitting_net"] | {"atom_ener": out["fitting_net"]["atom_ener"][:n_type]}
    return out


def _without_partners(section: dict[str, Any], made: set[tuple[int, int]], n_type: int) -> dict[str, Any]:
    if "list" in section:
        return section | {"list": [_without_partners(part, made, n_type) for part in section["list"]]}
    own = [list(pair) for pair in section.get("exclude_types") or () if tuple(pair) not in made]
    halved = {"sel": list(section["sel"])[:n_type]} if section["type"] in (*BY_TYPE, "se_r") else {}
    return section | {"exclude_types": own} | halved


def lacks(section: dict, path: str) -> Iterator[Problem]:
    """What a valid section of a ``standard`` model asks for together with spins and this version, or any, cannot do."""
    if section.get("spin") is None or (section["spin"].get("scheme") or "").lower() == "native":
        return
    descriptor = section["descriptor"]
    for where, part in _parts(descriptor, join(path, "descriptor")):
        if part["type"] not in SEEING:
            text = f"found {show(part['type'])}, which is not built with virtual atoms for spins; these are: {', '.join(SEEING)}."
            yield Problem(join(where, "type"), text)
        if part.get("use_econf_tebd"):
            text = "found true, but a virtual atom for a spin is no element and has no electrons. Set it to false."
            yield Problem(join(where, "use_econf_tebd"), text)
    if (kind := section["fitting_net"].get("type", "ener")) != ENERGY.losses[0]:
        text = f"found {show(kind)}; a model with spins predicts energies. Use the fitting net 'ener'."
        yield Problem(join(path, "fitting_net/type"), text)
    if (section.get("bridging_method") or "none").lower() != "none":
        yield Problem(join(path, "bridging_method"), "virtual atoms for spins have no nuclei to repel. Remove it.")
    for key in ("compress", "use_srtab", "modifier", "type_embedding"):
        if section.get(key) is not None:
            yield Problem(join(path, key), "not built for a model with spins. Remove one of the two.")


def misplaced(section: dict, path: str) -> Iterator[Problem]:
    """Spins of a model, or of a part of one, that has no use for them."""
    kind = section.get("type", "standard")
    if section.get("spin") is not None and kind not in ("standard", *DPA4_NAMES):
        text = f"found a section, but a model of type {kind!r} takes no spins. Remove it, or use a standard model."
        yield Problem(join(path, "spin"), text)
    named = [(key, section[key]) for key in ("qm_model", "qmmm_model") if key in section]
    models = section.get("models") or ()
    models = models.items() if isinstance(models, dict) else enumerate(models)
    for key, part in (*named, *((f"models/{name}", part) for name, part in models)):
        if isinstance(part, dict) and part.get("spin") is not None:
            text = "found a section, but a model that is part of another takes no spins. Remove it."
            yield Problem(join(path, f"{key}/spin"), text)


def _parts(section: dict, path: str) -> Iterator[tuple[str, dict]]:
    if "list" not in section:
        yield path, section
    for i, part in enumerate(section.get("list", ())):
        yield join(join(path, "list"), i), part
