"""The ``nvnmd`` section: training for the NVNMD hardware."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Context, Option, parsed
from dpjax.config.suggestions import join


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


def argument() -> Option:
    """The ``nvnmd`` argument."""
    later = "training for the NVNMD hardware"

    def option(name: str, dtype: type, doc: str) -> Option:
        return Option(name, dtype, doc, REQUIRED, not_built=later)

    return Option(
        "nvnmd",
        dict,
        "Training of a quantised model for the NVNMD hardware.",
        not_built=later,
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
        if getattr(cfg, key) and getattr(cfg, file).strip() in ("", "none"):
            yield Problem(
                join(path, key), f"found true, but {file} names no file. Give the file, or set {key} to false."
            )
