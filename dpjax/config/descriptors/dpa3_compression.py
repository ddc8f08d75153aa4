"""Options of ``repflow`` that shorten what enters the messages of the angles, of which there are many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dpjax.config.checks import check_at_least
from dpjax.config.problems import Problem
from dpjax.config.schema import Option
from dpjax.config.suggestions import join


def compression_options() -> list[Option]:
    """By how much, and in what way."""
    return [
        Option(
            "a_compress_rate",
            int,
            "Shorten what enters the messages of the angles, which saves time: the vector of the node to a_dim / "
            "a_compress_rate components, that of an edge to half as many. 0 leaves both as they are.",
            0,
        ),
        Option(
            "a_compress_e_rate",
            int,
            "Factor by which a_compress_rate shortens the vector of an edge less: it keeps a_compress_e_rate * a_dim / (2 * "
            "a_compress_rate) components.",
            1,
        ),
        Option(
            "a_compress_use_split",
            bool,
            "Shorten by keeping the first components. false: by a trained linear map.",
            False,
        ),
    ]


def check_compression(cfg: Any, path: str) -> Iterator[Problem]:
    """The shortened vectors must have whole lengths, which together are what the layers of the angles expect."""
    rate, e_rate, here = cfg.a_compress_rate, cfg.a_compress_e_rate, join(path, "a_compress_rate")
    yield from check_at_least(cfg, 0, ["a_compress_rate"], path)
    if rate <= 0 or cfg.a_dim < 1:
        return
    yield from check_at_least(cfg, 0, ["a_compress_e_rate"], path)
    if cfg.a_dim * e_rate % (2 * rate):
        yield Problem(
            here,
            f"found {rate}, but a_dim * a_compress_e_rate ({cfg.a_dim} * {e_rate}) is not divisible by 2 * {rate}.",
        )
    elif cfg.update_angle and e_rate and cfg.a_dim // rate % 2:
        yield Problem(here, f"found {rate}, but a_dim / a_compress_rate ({cfg.a_dim} / {rate}) is not even.")
    elif cfg.update_angle and cfg.a_compress_use_split:
        yield from _check_split(cfg, join(path, "a_compress_use_split"))


def _check_split(cfg: Any, path: str) -> Iterator[Problem]:
    """Only components that are there can be kept."""
    node = cfg.a_dim // cfg.a_compress_rate
    for name, kept in (("n_dim", node), ("e_dim", node // 2 * cfg.a_compress_e_rate)):
        if kept > getattr(cfg, name) > 0:
            text = f"found true, which keeps the first {kept} components, but {name} is {getattr(cfg, name)}."
            yield Problem(path, f"{text} Raise a_compress_rate, or set it to false.")
