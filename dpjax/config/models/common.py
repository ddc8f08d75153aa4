"""What every kind of model has: type names, statistics, exclusions, preset bias, and parts that join any of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from dpjax.config.checks import check_at_least, check_positive, check_type_indices, check_type_pairs
from dpjax.config.models import compress, modifier, spin, type_embedding
from dpjax.config.problems import Problem
from dpjax.config.schema import Context, Option, Registry
from dpjax.config.suggestions import found, join


@dataclass(frozen=True, kw_only=True)
class CommonModelConfig:
    """Options of every kind of model."""

    type_map: tuple[str, ...] = ()
    type: str = "standard"
    data_stat_nbatch: int = 10
    data_stat_protect: float = 0.01
    data_bias_nsample: int = 10
    pair_exclude_types: tuple[tuple[int, int], ...] = ()
    atom_exclude_types: tuple[int, ...] = ()
    preset_out_bias: dict[str, tuple] | None = None  # output -> one entry per type: number, tuple of numbers or None
    use_srtab: str | None = None
    smin_alpha: float | None = None
    sw_rmin: float | None = None
    sw_rmax: float | None = None
    srtab_add_bias: bool = True
    type_embedding: type_embedding.TypeEmbeddingConfig | None = None
    modifier: modifier.DipoleChargeConfig | None = None
    compress: dict[str, Any] | None = None
    spin: spin.SpinConfig | None = None
    finetune_head: str | None = None
    lora = None  # an option of the dpa4 model alone
    nvnmd = None  # of standard models alone
    takes_fragments = False  # whether the atomic parameter numbers fragments, in DPRc models alone
    # "reference": as DeePMD-kit computes where it is wrong; no option of the input
    conventions: str = field(default="corrected", compare=False)
    raw: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)  # the normalised section

    @property
    def title(self) -> str:
        """What to call the model in a few words: the type of its descriptor, or its own where it has none."""
        return self.raw.get("descriptor", self.raw).get("type", self.type)


def common_options() -> list[Option]:
    """Options of every kind of model."""
    return [
        Option("type_map", list[str], "Names of the atom types; everything that is given per type follows this order."),
        *_statistics_options(),
        *_exclusion_options(),
        *_pair_table_options(),
        type_embedding.argument(),
        modifier.argument(),
        compress.argument(),
        spin.argument(),
        Option(
            "finetune_head",
            str,
            "Branch of the model given with --finetune to start from; RANDOM starts the fitting net anew.",
        ),
    ]


def _statistics_options() -> list[Option]:
    return [
        Option(
            "data_stat_nbatch",
            int,
            "Batches per system that the mean and spread of the environment are taken from.",
            10,
        ),
        Option(
            "data_stat_protect",
            float,
            "Smallest spread by which frame and atomic parameters are divided when they are normalised.",
            0.01,
        ),
        Option(
            "data_bias_nsample",
            int,
            "Batches per system used when the energy bias is changed.",
            10,
        ),
    ]


def _exclusion_options() -> list[Option]:
    return [
        Option(
            "pair_exclude_types",
            list,
            "Pairs of types that are no neighbours of each other anywhere in the model, as in [[0, 1]].",
            [],
        ),
        Option("atom_exclude_types", list, "Types whose atoms contribute nothing to the prediction.", []),
        Option(
            "preset_out_bias",
            [dict[str, list[float | list[float] | None]], None],
            'Bias of an output per type, fixed instead of taken from the data, as in {"energy": [null, -3.2]}; null leaves a '
            "type to the data. Use with set_davg_zero.",
            None,
        ),
    ]


def _pair_table_options() -> list[Option]:
    rest = {"used_with": "use_srtab"}
    return [
        Option(
            "use_srtab",
            str,
            "File with a table of pair energies that takes over at short distances; its columns are the distance in "
            "angstrom and the energy in eV of each pair of types.",
        ),
        Option("smin_alpha", float, "Sharpness of the soft minimum distance that switches to the pair table.", **rest),
        Option("sw_rmin", float, "Distance in angstrom below which only the pair table acts.", **rest),
        Option("sw_rmax", float, "Distance in angstrom above which only the model acts.", **rest),
        Option("srtab_add_bias", bool, "Whether the pair table gets the energy bias of the data.", True, **rest),
    ]


def common_sections(section: dict, path: str, context: Context) -> dict[str, Any]:
    """The dataclasses of those sub-sections of any model that are there."""
    parsers = {"type_embedding": type_embedding.parse, "modifier": modifier.parse, "spin": spin.parse}
    return {name: parse(section[name], join(path, name), context) for name, parse in parsers.items() if name in section}


def parse_model(registry: Registry, section: dict | None, path: str, context: Context) -> Any:
    """The dataclass of a normalised model section; None where something in it is wrong.

    A model without ``type_map`` that is part of another has that of the other, which ``context`` brings.
    """
    if not section:
        return None
    names = tuple(section.get("type_map", ()))
    context.report.extend(check_type_map(names, join(path, "type_map")))
    config = registry.parse(section, path, replace(context, type_map=names or context.type_map))
    return config if config is None or names else replace(config, type_map=context.type_map)


def check_file(cfg: Any, key: str, path: str) -> Iterator[Problem]:
    """The option ``key`` must name a file."""
    if not getattr(cfg, key).strip():
        yield Problem(join(path, key), "found an empty name; give the path of a file.")


def check_common(cfg: CommonModelConfig, path: str, context: Context) -> Iterator[Problem]:
    """The rules of :func:`common_options`."""
    yield from check_at_least(cfg, 1, ["data_stat_nbatch", "data_bias_nsample"], path)
    yield from check_positive(cfg, ["data_stat_protect"], path)
    yield from check_type_pairs(cfg.pair_exclude_types, context.type_map, join(path, "pair_exclude_types"))
    here = join(path, "atom_exclude_types")
    odd = [(i, t) for i, t in enumerate(cfg.atom_exclude_types) if type(t) is not int]
    yield from (Problem(join(here, i), f"{found(t)}, expected a type index.") for i, t in odd)
    if not odd:
        yield from check_type_indices(cfg.atom_exclude_types, context.type_map, here)
    yield from _check_preset(cfg.preset_out_bias, context, join(path, "preset_out_bias"))
    yield from _check_pair_table(cfg, path)
    yield from modifier.check_use(cfg, path)


def _check_preset(preset: dict | None, context: Context, path: str) -> Iterator[Problem]:
    for name, values in (preset or {}).items():
        if context.type_map and len(values) != len(context.type_map):
            yield Problem(
                join(path, name),
                f"found {len(values)} entries, but model/type_map has {len(context.type_map)} "
                f"({', '.join(context.type_map)}). Give one value per type, null where the data shall decide.",
            )


def _check_pair_table(cfg: CommonModelConfig, path: str) -> Iterator[Problem]:
    needed = ("smin_alpha", "sw_rmin", "sw_rmax")
    if cfg.use_srtab is None:
        return
    missing = [key for key in needed if getattr(cfg, key) is None]
    for key in missing:
        yield Problem(join(path, key), "missing; it is required together with use_srtab.")
    if not missing:
        yield from check_positive(cfg, ["smin_alpha", "sw_rmax"], path)
        if not 0 <= cfg.sw_rmin < cfg.sw_rmax:
            text = f"found {cfg.sw_rmin} with sw_rmax {cfg.sw_rmax}; it must be at least 0 and less than sw_rmax."
            yield Problem(join(path, "sw_rmin"), text)


def check_no_short_range_table(cfg: CommonModelConfig, path: str) -> Iterator[Problem]:
    """Only a model with networks has something that a table could take over from."""
    if cfg.use_srtab is not None:
        text = f"found {cfg.use_srtab!r} in a model of type {cfg.type!r}; only one of type standard has it. Remove the key."
        yield Problem(join(path, "use_srtab"), text)


def check_type_map(names: tuple[str, ...], path: str) -> Iterator[Problem]:
    """Every type has its own name."""
    for i, name in enumerate(names):
        if name in names[:i]:
            text = f"{name!r} is already entry {names.index(name)}; every type must have its own name."
            yield Problem(join(path, i), text)
