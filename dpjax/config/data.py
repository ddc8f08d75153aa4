"""``training_data`` and ``validation_data``: which systems, how large a batch, how often each system is drawn."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.checks import check_at_least
from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Context, Option, parsed
from dpjax.config.suggestions import join


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """A set of systems and how batches are drawn from it."""

    systems: tuple[str, ...]
    rglob_patterns: tuple[str, ...] | None = None
    batch_size: int | tuple[int, ...] | str = "auto"
    auto_prob: str = "prob_sys_size"
    sys_probs: tuple[float, ...] | None = None
    min_pair_dist: float = 0.0
    numb_btch: int = 1  # batches per validation


_SIZE = re.compile(r"auto|(auto|max|filter|mixed):\d+")
_BLOCK = r"\s*\d+\s*:\s*\d+\s*:\s*[0-9.eE+-]+\s*"
_PROB = re.compile(rf"prob_uniform|prob_sys_size(;{_BLOCK})*;?")


def options() -> list[Option]:
    """Keys that training and validation data share."""
    return [
        Option(
            "systems",
            [list[str], str],
            "Folder of a system (with type.raw), folder that is searched for systems, HDF5 file (or `file.h5#/group`), LMDB "
            "environment, or extended XYZ file; one or a list.",
            REQUIRED,
        ),
        Option(
            "rglob_patterns",
            [list[str], None],
            "Search folders with these patterns instead of looking for type.raw.",
            None,
        ),
        Option(
            "batch_size",
            [list[int], int, str],
            "Frames per batch: a number, a list with one number per system, or a rule. `auto:N`: the fewest frames "
            "with at least N "
            "atoms together (`auto` is `auto:32`); `max:N`: the most frames with at most N atoms together, but at "
            "least one; "
            "`filter:N`: the same, and systems of more than N atoms are left out.",
            "auto",
        ),
        Option(
            "auto_prob",
            str,
            "How often each system is drawn: `prob_uniform`, all alike; `prob_sys_size`, by its number of batches; "
            "`prob_sys_size;a:b:w;...`, systems a to b-1 together with weight w, and inside such a block by number "
            "of batches.",
            "prob_sys_size",
            alias=["auto_prob_style"],
        ),
        Option(
            "sys_probs",
            [list[float], None],
            "Probability of each system; replaces auto_prob. Systems with a negative entry share what is left.",
            None,
            alias=["sys_weights"],
        ),
    ]


def training_argument() -> Option:
    """The ``training_data`` argument."""
    near = Option(
        "min_pair_dist",
        float,
        "Leave out frames in which two atoms are closer than this, in angstrom; 0 keeps all.",
        0.0,
    )
    return Option("training_data", dict, "The data to train on.", sub_fields=[*options(), near])


def validation_argument() -> Option:
    """The ``validation_data`` argument."""
    number = Option("numb_btch", int, "Batches that each validation takes.", 1, alias=["numb_batch"])
    return Option(
        "validation_data",
        [dict, None],
        "Data that training only measures itself on.",
        None,
        sub_fields=[*options(), number],
    )


def parse(section: dict, path: str, context: Context) -> DataConfig | None:
    """The dataclass of a normalised section; None where something in it is wrong."""
    systems = section.get("systems")
    listed = section | {"systems": [systems]} if isinstance(systems, str) else section
    return parsed(DataConfig, _check, listed, path, context)


def _check(cfg: DataConfig, path: str, context: Context) -> Iterator[Problem]:
    if not cfg.systems:
        yield Problem(join(path, "systems"), "found an empty list; name at least one system.")
    yield from _check_batch_size(cfg.batch_size, join(path, "batch_size"))
    if not _PROB.fullmatch(cfg.auto_prob):
        text = f"found {cfg.auto_prob!r}; write prob_uniform, prob_sys_size, or blocks as in prob_sys_size;0:2:0.3;2:4:0.7."
        yield Problem(join(path, "auto_prob"), text)
    yield from check_at_least(cfg, 1, ["numb_btch"], path)
    yield from check_at_least(cfg, 0, ["min_pair_dist"], path)


def _check_batch_size(size: int | tuple[int, ...] | str, path: str) -> Iterator[Problem]:
    if isinstance(size, str):
        if not _SIZE.fullmatch(size) or size.endswith(":0"):
            text = (
                f'found "{size}"; write a number, a list of numbers, "auto", "auto:N", "max:N", "filter:N" or "mixed:N" '
                "with N at least 1."
            )
            yield Problem(path, text)
        return
    sizes = size if isinstance(size, tuple) else (size,)
    if not sizes or min(sizes) < 1:
        yield Problem(path, f"found {list(sizes) if isinstance(size, tuple) else size}; a batch has at least 1 frame.")
