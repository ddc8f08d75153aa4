"""The ``nvnmd`` section: training for the NVNMD hardware (Mo et al., npj Comput. Mater. 8, 107 (2022))."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Context, Option, parsed
from dpjax.config.suggestions import join, show

NO_FILE = ("", "none")
MOST_TYPES = {0: 4, 1: 31}  # by version
LONGEST_CUTOFF = 8.0  # angstrom, to which the hardware's tables reach
EMBEDDING, AXIS_NEURON, TYPE_VECTOR = (8, 16, 32), 4, 8  # widths of the hardware


@dataclass(frozen=True, kw_only=True)
class NvnmdConfig:
    """A quantised model for the NVNMD hardware; file names are empty or ``none`` where there is no file."""

    version: int
    max_nnei: int
    net_size: int
    map_file: str
    config_file: str
    weight_file: str
    enable: bool
    restore_descriptor: bool
    restore_fitting_net: bool
    quantize_descriptor: bool
    quantize_fitting_net: bool

    @property
    def restores(self) -> bool:
        """Whether parameters start from the weight file."""
        return self.restore_descriptor or self.restore_fitting_net

    @property
    def quantizes(self) -> bool:
        """Whether anything is quantised."""
        return self.quantize_descriptor or self.quantize_fitting_net

    @property
    def keeps_descriptor(self) -> bool:
        """Whether the descriptor is not trained: it comes from a file."""
        return self.restore_descriptor or self.quantize_descriptor


def in_form(model: Any, section: dict[str, Any] | None) -> Any:
    """A model in the form of the hardware, where a normalised section ``nvnmd`` is enabled; else the model itself.

    Version 1 tells both atoms of a pair apart, whatever ``type_one_side`` says.
    """
    if not section or not section["enable"]:
        return model
    own = NvnmdConfig(**section)
    descriptor = model.descriptor if own.version == 0 else replace(model.descriptor, type_one_side=False)
    return replace(model, descriptor=descriptor, nvnmd=own)


def argument() -> Option:
    """The ``nvnmd`` argument."""

    def option(name: str, dtype: type, doc: str) -> Option:
        return Option(name, dtype, doc, REQUIRED)

    return Option(
        "nvnmd",
        dict,
        "Training of a quantised model for the NVNMD hardware.",
        sub_fields=[
            option("version", int, "Version of the quantised model: 0 (few types) or 1 (up to 32 types)."),
            option("max_nnei", int, "Largest number of neighbours: 128 or 256."),
            option("net_size", int, "Width of the fitting net's layers; the hardware has 128."),
            option(
                "map_file", str, "File with the tables that replace the embedding nets; empty or `none` for no file."
            ),
            option("config_file", str, "File with the hardware configuration; empty or `none` for no file."),
            option("weight_file", str, "File with the parameters to start from; empty or `none` for no file."),
            option("enable", bool, "Whether this section takes effect."),
            option("restore_descriptor", bool, "Whether the descriptor starts from the files."),
            option("restore_fitting_net", bool, "Whether the fitting net starts from the files."),
            option("quantize_descriptor", bool, "Whether the descriptor is quantised: the second stage of a training."),
            option(
                "quantize_fitting_net", bool, "Whether the fitting net is quantised: the second stage of a training."
            ),
        ],
    )


def parse(section: dict | None, path: str, context: Context) -> NvnmdConfig | None:
    """The dataclass of a normalised section; None where there is none, or something in it is wrong."""
    return None if section is None else parsed(NvnmdConfig, _check, section, path, context)


def _check(cfg: NvnmdConfig, path: str, context: Context) -> Iterator[Problem]:
    for key, valid in (("version", (0, 1)), ("max_nnei", (128, 256)), ("net_size", (128,))):
        if getattr(cfg, key) not in valid:
            text = f"found {getattr(cfg, key)}; it must be {' or '.join(map(str, valid))}."
            yield Problem(join(path, key), text)
    if cfg.enable:
        yield from _check_files(cfg, path)


def _check_files(cfg: NvnmdConfig, path: str) -> Iterator[Problem]:
    """What is restored or replaced by tables needs the file that it comes from."""
    needs = {
        "restore_descriptor": "weight_file",
        "restore_fitting_net": "weight_file",
        "quantize_descriptor": "map_file",
    }
    for key, file in needs.items():
        if getattr(cfg, key) and getattr(cfg, file).strip() in NO_FILE:
            yield Problem(
                join(path, key), f"found true, but {file} names no file. Give the file, or set {key} to false."
            )


def problems(cfg: NvnmdConfig, parts: dict[str, Any]) -> Iterator[Problem]:
    """Why the model of an input, or its training, is none of the hardware; ``parts`` are dataclasses of sections by name."""
    if not cfg.enable:
        return
    model, training = parts.get("model"), parts.get("training")
    if model is not None:
        yield from _check_model(cfg, model)
    if training is not None and training.mixed_precision is not None:
        yield _wrong("training/mixed_precision", training.mixed_precision, "absent", "quantised numbers need float64")
    loss = parts.get("loss")
    for key in ("start_pref_h", "limit_pref_h"):
        if cfg.quantizes and getattr(loss, key, 0.0):
            yield _wrong(f"loss/{key}", getattr(loss, key), 0, "a quantised energy has no second derivatives")


def _check_model(cfg: NvnmdConfig, model: Any) -> Iterator[Problem]:
    path = "model"
    if model.type != "standard":
        yield _wrong("model/type", model.type, "standard", "the hardware has no other models")
        return
    rules: dict[str, tuple[Any, Any]] = {
        "pair_exclude_types": (tuple(model.pair_exclude_types), ()),
        "spin": (model.spin, None),
        "modifier": (model.modifier, None),
        "use_srtab": (model.use_srtab, None),
        "type_embedding": (model.type_embedding, None),
    }
    for key, (found, wanted) in rules.items():
        if found != wanted:
            yield Problem(
                join(path, key), "the NVNMD hardware has no such thing; remove the key, or the section nvnmd."
            )
    if len(model.type_map) > MOST_TYPES[cfg.version]:
        text = f"found {len(model.type_map)} types; version {cfg.version} of the NVNMD hardware has {MOST_TYPES[cfg.version]}."
        yield Problem(join(path, "type_map"), text)
    kinds = [model.raw[part]["type"] for part in ("descriptor", "fitting_net")]
    for part, found, wanted in zip(("descriptor", "fitting_net"), kinds, (_KIND[cfg.version], "ener"), strict=True):
        if found != wanted:
            yield _wrong(f"model/{part}/type", found, wanted, f"version {cfg.version} of the NVNMD hardware has it")
            return
    yield from _check_sections(cfg, model)


_KIND = {0: "se_e2_a", 1: "se_atten"}
_NETWORK = {"activation_function": "tanh", "resnet_dt": False, "precision": "float64"}
_DESCRIPTOR = {
    "neuron": EMBEDDING,
    "axis_neuron": AXIS_NEURON,
    "exclude_types": (),
    "env_protection": 0.0,
    **_NETWORK,
}
_BY_TYPE = {"type_one_side": True}
_MIXED = {
    "tebd_input_mode": "strip",
    "stripped_type_embedding": None,
    "smooth_type_embedding": False,
    "attn_layer": 0,
    "tebd_dim": TYPE_VECTOR,
    "concat_output_tebd": True,
    "use_econf_tebd": False,
    "set_davg_zero": True,
    "lmax": None,
}
_FITTING = {"numb_fparam": 0, "numb_aparam": 0, "dim_case_embd": 0, "layer_name": None, "atom_ener": (), **_NETWORK}


def _check_sections(cfg: NvnmdConfig, model: Any) -> Iterator[Problem]:
    """The options that follow from the hardware."""
    own = {"descriptor": _DESCRIPTOR | (_MIXED if cfg.version else _BY_TYPE)}
    own["fitting_net"] = _FITTING | {"neuron": (cfg.net_size,) * 3}
    for part, rules in own.items():
        section = getattr(model, part)
        for key, wanted in rules.items():
            found = getattr(section, key)
            alike = found in ("default", "double") if key == "precision" else False
            if found != wanted and not alike:
                yield _wrong(f"model/{part}/{key}", found, wanted, "the NVNMD hardware has nothing else")
    yield from _check_reach(cfg, model.descriptor)


def _check_reach(cfg: NvnmdConfig, descriptor: Any) -> Iterator[Problem]:
    if descriptor.rcut > LONGEST_CUTOFF:
        yield Problem("model/descriptor/rcut", f"found {descriptor.rcut:g}; the NVNMD hardware reaches 8 angstrom.")
    sel = descriptor.sel
    if isinstance(sel, str):
        yield Problem("model/descriptor/sel", f"found {sel!r}; give numbers, which the NVNMD hardware is made for.")
        return
    each = [sel] if isinstance(sel, int) else [sum(sel)] if cfg.version else list(sel)
    if max(each) > cfg.max_nnei:
        text = f"found {show(list(each))}, but nvnmd/max_nnei is {cfg.max_nnei}; no number may be larger."
        yield Problem("model/descriptor/sel", text)


def _wrong(path: str, found: Any, wanted: Any, reason: str) -> Problem:
    return Problem(
        path, f"found {_shown(found)}, expected {_shown(wanted)}: {reason}. Change it, or remove the section nvnmd."
    )


def _shown(value: Any) -> str:
    return "nothing" if value is None else show(list(value) if isinstance(value, tuple) else value)
