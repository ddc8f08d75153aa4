"""The ``dpjax`` section: options that DeePMD-kit does not have.

It is left out where inputs for DeePMD-kit are written.
"""

from __future__ import annotations

from dataclasses import dataclass

from dpjax.config.schema import Option, to_dataclass
from dpjax.config.suggestions import did_you_mean
from dpjax.errors import ConfigError

PROGRESS = ("auto", "bar", "lines", "none")


@dataclass(frozen=True, kw_only=True)
class DpjaxConfig:
    """How dpjax runs a job; nothing here changes what is computed."""

    neighbor_cache: str | None = None
    progress: str = "auto"
    prefetch: int = 2
    compilation_cache: str | None = None
    block_size: int | None = None


def argument() -> Option:
    """The ``dpjax`` argument."""
    return Option(
        "dpjax",
        dict,
        "Options of dpjax itself. They change speed, memory and what is printed, never the result.",
        sub_fields=[
            Option(
                "neighbor_cache",
                [str, None],
                "Folder in which neighbour lists of the data are kept between runs; null keeps them in memory only.",
                None,
            ),
            Option(
                "progress",
                str,
                "What a run shows: `bar`, a progress bar; `lines`, one line per display interval; `none`, nothing; "
                "`auto`, a bar "
                "on a terminal and lines elsewhere.",
                "auto",
            ),
            Option(
                "prefetch", int, "Batches that are prepared ahead of the step; 0 prepares each when it is needed.", 2
            ),
            Option(
                "compilation_cache",
                [str, None],
                "Folder in which compiled programs are kept between runs; null is a folder in the user's cache, "
                "`off` keeps none.",
                None,
            ),
            Option(
                "block_size",
                [int, None],
                "Atoms whose descriptors are computed together on a CPU; null chooses. Smaller blocks need less "
                "memory.",
                None,
            ),
        ],
    )


def parse(section: dict, path: str = "dpjax") -> DpjaxConfig:
    """The checked dataclass of a normalised ``dpjax`` section."""
    cfg = to_dataclass(DpjaxConfig, section)
    if cfg.progress not in PROGRESS:
        raise ConfigError(
            f"{path}/progress: found {cfg.progress!r}.{did_you_mean(cfg.progress, PROGRESS)} Choose one of: "
            f"{', '.join(PROGRESS)}."
        )
    if cfg.prefetch < 0:
        raise ConfigError(f"{path}/prefetch: found {cfg.prefetch}; it must not be negative.")
    if cfg.block_size is not None and cfg.block_size < 1:
        raise ConfigError(
            f"{path}/block_size: found {cfg.block_size}; it must be at least 1, or null to let dpjax choose."
        )
    return cfg
