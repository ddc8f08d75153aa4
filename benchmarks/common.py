"""What the scripts of this folder share: programs, their environment, the standard water input, tables and JSON.

It needs the standard library only. A script that measures memory in subprocesses must stay small itself, because Linux
counts the memory of the parent at the start of a child as the child's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
WATER = [REPOSITORY / "examples" / "water" / name for name in ("train_300K", "train_600K")]  # 96 atoms each
FLAGS = {"pytorch": "--pt", "jax": "--jax"}  # backends of DeePMD-kit that train
PRECISIONS = ("float64", "float32")
CLEARED = (
    "JAX_",
    "XLA_",
    "DP_",
    "TF_",
    "OMP_",
    "KMP_",
    "MKL_",
    "OPENBLAS_",
)  # settings of the shell that must not count


class Failure(Exception):
    """A program did not give a number; the text says why."""


@dataclass(frozen=True)
class Program:
    """One of the programs whose training is compared."""

    name: str
    command: tuple[str, ...]

    @property
    def is_peer(self) -> bool:
        return self.name != "dpjax"


# --- programs ----------------------------------------------------------------------------------------------------------------


def find_peer() -> Path | None:
    """The environment with DeePMD-kit that the variable PEER names, or None; says which of the two."""
    text = os.environ.get("PEER")
    if not text:
        print("PEER is not set: no DeePMD-kit to compare with", file=sys.stderr)
        return None
    peer = Path(text).absolute()
    for program in ("dp", "python"):
        if not os.access(peer / "bin" / program, os.X_OK):
            sys.exit(f"PEER={text}: found no executable {peer / 'bin' / program}; give an environment with DeePMD-kit")
    return peer


def choose(only: Sequence[str] | None, names: Sequence[str]) -> list[str]:
    """Names that ``--only`` leaves."""
    chosen = [name for name in names if not only or name in only]
    missing = set(only or ()) - set(names)
    if missing:
        sys.exit(f"--only {' '.join(sorted(missing))}: set PEER=DIR to an environment with DeePMD-kit to measure it")
    return chosen


def find_programs(only: Sequence[str] | None, peers: Sequence[str] = tuple(FLAGS)) -> list[Program]:
    """Programs that train ``input.json``: dpjax in this interpreter, and the peers where PEER names their environment."""
    programs = {"dpjax": Program("dpjax", (sys.executable, "-m", "dpjax", "train", "input.json"))}
    peer = find_peer()
    if peer:
        for name in peers:
            command = (str(peer / "bin" / "dp"), FLAGS[name], "train", "input.json", "--skip-neighbor-stat")
            programs[name] = Program(name, command)
    return [programs[name] for name in choose(only, list(programs))]


def cores() -> list[int]:
    """Cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))


def pin(process: int, threads: int) -> None:
    """Keep a process on the first ``threads`` cores, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(process, cores()[:threads])


def environment(threads: int) -> dict[str, str]:
    """The same number of threads for every program; no accelerator, no settings of the shell that change speed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(CLEARED)}
    names = ("OMP_NUM_THREADS", "DP_INTRA_OP_PARALLELISM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    fixed = {
        "DP_INTER_OP_PARALLELISM_THREADS": "1",
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(REPOSITORY),
    }
    return kept | dict.fromkeys(names, str(threads)) | fixed


def take_turns(names: Sequence[str], repeat: int, measure: Callable) -> tuple[dict[str, list], dict[str, str]]:
    """Calls ``measure(name, repetition)``, the names taking turns.

    Returns:
        Results by name, and by name why one failed; what failed once is not tried again.
    """
    results: dict[str, list] = {name: [] for name in names}
    errors: dict[str, str] = {}
    for repetition in range(repeat):
        for name in names:
            if name in errors:
                continue
            print(f"repetition {repetition + 1}/{repeat}: {name}", file=sys.stderr, flush=True)
            try:
                results[name].append(measure(name, repetition))
            except Failure as failure:
                errors[name] = str(failure)
    return results, errors


# --- the standard water input ------------------------------------------------------------------------------------------------


STANDARD = {
    "type": "se_e2_a", "rcut": 6.0, "rcut_smth": 0.5, "sel": [46, 92], "neuron": [25, 50, 100], "axis_neuron": 16,
    "type_one_side": True,
}  # fmt: skip


def water_input(
    data: Sequence[Path],
    *,
    steps: int,
    interval: int,
    batch: int = 1,
    precision: str = "float64",
    descriptor: dict | None = None,
    fitting: Sequence[int] | dict = (240, 240, 240),
    kind: str = "standard",
    optimizer: dict | None = None,
) -> dict:
    """The standard water input of DeePMD-kit, without validation; ``interval`` steps between lines of the learning curve.

    ``descriptor`` and ``fitting``, the fitting net or its widths, replace those of the standard model, whose type is ``kind``.
    """
    own = {"precision": precision, "seed": 1}
    net = fitting if isinstance(fitting, dict) else {"neuron": list(fitting), "resnet_dt": True}
    return {
        "model": {
            "type": kind, "type_map": ["O", "H"], "descriptor": (descriptor or STANDARD) | own, "fitting_net": net | own,
        },
        **({"optimizer": optimizer} if optimizer else {}),
        "learning_rate": {"type": "exp", "start_lr": 0.001, "stop_lr": 3.51e-8, "decay_steps": 5000},
        "loss": {"type": "ener", "start_pref_e": 0.02, "limit_pref_e": 1, "start_pref_f": 1000, "limit_pref_f": 1},
        "training": {
            "training_data": {"systems": [str(path) for path in data], "batch_size": batch},
            "numb_steps": steps, "disp_freq": interval, "save_freq": 10 * steps, "seed": 1,
        },
    }  # fmt: skip


def for_program(program: Program, content: dict, cache: str = "off") -> dict:
    """The input as a program reads it: dpjax also hears where compiled programs are kept between runs, by default nowhere."""
    if program.is_peer:
        return content
    return content | {"dpjax": content.get("dpjax", {}) | {"compilation_cache": cache}}


def atoms_per_frame(data: Sequence[Path]) -> str:
    """Number of atoms, or the numbers where systems differ."""
    return "/".join(str(n) for n in sorted({len((path / "type.raw").read_text().split()) for path in data}))


# --- output ------------------------------------------------------------------------------------------------------------------


def machine_facts(threads: int) -> dict:
    """What a reader needs to know about the machine."""
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    facts = {"machine": platform.machine(), "processor": processor(), "cores": len(cores()), "load_before": load}
    versions = {"python": platform.python_version(), "jax": metadata.version("jax")}
    return facts | {"threads": threads} | versions


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def spread(values: Sequence[float]) -> list[float]:
    return [min(values), max(values)]


def program_rows(programs: dict[str, dict], cells: Callable[[dict], list]) -> list[list]:
    """Rows of a table: the name of each program and its cells, or why it failed."""
    return [
        [name, f"failed: {row['error']}"] if "error" in row else [name, *cells(row)] for name, row in programs.items()
    ]


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence]) -> None:
    """A table with a line of facts above it; the first column is set left, the others right. A row of two cells, a name
    and a text, is a remark across the columns."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    full = [list(header), *(row for row in cells if len(row) > 2)]
    width = [max(len(row[i]) for row in full) for i in range(len(header))]
    width[0] = max(width[0], *(len(row[0]) for row in cells), 0)
    print(f"\n{title}")
    for row in [list(header), *cells]:
        rest = row[1:] if len(row) == 2 else [cell.rjust(width[i + 1]) for i, cell in enumerate(row[1:])]
        print("  ".join([row[0].ljust(width[0]), *rest]).rstrip())


def finish(args: argparse.Namespace, result: dict, failed: bool) -> None:
    """Writes the JSON file and ends with 1 if a program failed."""
    if args.output:
        args.output.write_text(json.dumps(result, indent=2, default=str) + "\n")
        print(f"wrote {args.output}")
    if failed:
        sys.exit(1)
