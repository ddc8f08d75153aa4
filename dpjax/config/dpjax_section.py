"""The ``dpjax`` section: options that DeePMD-kit does not have.

It is left out where inputs for DeePMD-kit are written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.checks import check_at_least, check_choice
from dpjax.config.optimizers import MUON_PRECISIONS
from dpjax.config.problems import Problem
from dpjax.config.schema import Context, Option, parsed
from dpjax.config.suggestions import join

PROGRESS = ("auto", "bar", "lines", "none")


@dataclass(frozen=True, kw_only=True)
class DpjaxConfig:
    """How dpjax runs a job; nothing here but ``muon_precision`` and ``ensemble`` changes what is computed."""

    neighbor_cache: str | None = None
    neighbor_cache_size: float = 8.0  # GiB
    skip_bad_frames: bool = False
    progress: str = "auto"
    prefetch: int = 2
    compilation_cache: str | None = None
    block_size: int | None = None
    recompute_layers: bool | None = None
    muon_precision: str = "reference"
    ensemble: int = 1


def argument() -> Option:
    """The ``dpjax`` argument."""
    return Option(
        "dpjax",
        dict,
        "Options of dpjax itself. They change speed, memory and what is printed, and the result only where they say so.",
        sub_fields=[
            Option(
                "neighbor_cache",
                [str, None],
                "Folder in which neighbour lists of the data are kept between runs; null keeps them in memory only.",
                None,
            ),
            Option(
                "neighbor_cache_size",
                float,
                "GiB that neighbour lists may take in memory, and again in the folder `neighbor_cache`, for training and for "
                "validation data each. Lists beyond it are searched again whenever they are needed; in the folder those of other "
                "runs go first, the least recently used before the others.",
                8.0,
            ),
            Option(
                "ensemble",
                int,
                "Models that are trained together on the same batches, from different initial parameters; for model deviation.",
                1,
            ),
            Option(
                "skip_bad_frames",
                bool,
                "Leave out frames of LMDB environments and extended XYZ files that cannot be read or hold a number that is not "
                "finite, with a warning; false stops at the first and names it. All frames are then read once at the start.",
                False,
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
            Option(
                "recompute_layers",
                [bool, None],
                "Compute what lies inside the layers of dpa2, dpa3 and dpa4 again when their derivatives are taken, and keep "
                "nothing of it: slower, with a fraction of the memory. null: where it would take more than a quarter of the "
                "memory of the accelerator or machine (and 4 GiB), and where there are more than eight layers.",
                None,
            ),
            Option(
                "muon_precision",
                str,
                "How AdaMuon and HybridMuon compute: `reference` rounds where DeePMD-kit does, to bfloat16, float16 and "
                "float32; `full` rounds nothing below the precision of the parameters.",
                "reference",
            ),
        ],
    )


def parse(section: dict, path: str, context: Context) -> DpjaxConfig | None:
    """The dataclass of a normalised section; None where something in it is wrong."""
    return parsed(DpjaxConfig, _check, section, path, context)


def _check(cfg: DpjaxConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_choice(cfg.progress, PROGRESS, join(path, "progress"))
    yield from check_choice(cfg.muon_precision, MUON_PRECISIONS, join(path, "muon_precision"))
    yield from check_at_least(cfg, 1, ["ensemble"], path)
    yield from check_at_least(cfg, 0, ["prefetch", "neighbor_cache_size"], path)
    if cfg.block_size is not None and cfg.block_size < 1:
        text = f"found {cfg.block_size}; it must be at least 1, or null to let dpjax choose."
        yield Problem(join(path, "block_size"), text)
