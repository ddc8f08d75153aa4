#!/usr/bin/env python3
"""Seconds per training step: dpjax beside DeePMD-kit's PyTorch and JAX backends, in one run.

    python benchmarks/train_step.py                                    dpjax alone
    PEER=DIR python benchmarks/train_step.py --data DIR1 DIR2          with the DeePMD-kit installed in the environment DIR

Every program trains the standard water model (se_e2_a 25-50-100, axis 16, fitting 240-240-240, float64, batch 1) from the
same input on the same data with the same number of threads. A step's time is taken from outside, the same way for all: from
the moments at which lines appear in ``lcurve.out``, without the first ones (compilation, first frames). Programs alternate;
medians over all repetitions count.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

REPOSITORY = Path(__file__).resolve().parents[1]
WATER = [str(REPOSITORY / "examples" / "water" / name) for name in ("train_300K", "train_600K")]  # 96 atoms each
POLL = 0.004  # seconds between looks at lcurve.out


@dataclass(frozen=True)
class Program:
    """One of the programs that are compared."""

    name: str
    command: tuple[str, ...]


@dataclass
class Timing:
    """What was measured of one program."""

    step: list[float] = field(default_factory=list)  # seconds per step, one for each interval of each repetition
    start: list[float] = field(default_factory=list)  # seconds from launch to the first line of lcurve.out
    error: str = ""


def main() -> None:
    args = parse_args()
    programs = find_programs(args.only)
    timings = {program.name: Timing() for program in programs}
    for repetition in range(args.repeat):
        for program in programs:
            timing = timings[program.name]
            if timing.error:
                continue
            print(f"repetition {repetition + 1}/{args.repeat}: {program.name}", file=sys.stderr, flush=True)
            measure(program, args, timing)
    result = summary(args, timings)
    print_table(result)
    if args.output:
        args.output.write_text(json.dumps(result, indent=2) + "\n")
        print(f"wrote {args.output}")
    if any(timing.error for timing in timings.values()):
        sys.exit(1)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", nargs="+", default=WATER, metavar="DIR", help="systems with types O H (default: examples/water)"
    )
    parser.add_argument("--steps", type=int, default=120, help="steps of each run")
    parser.add_argument("--interval", type=int, default=20, help="steps between two lines of the learning curve")
    parser.add_argument("--skip", type=int, default=40, help="steps at the start that do not count")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each program")
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="cores and threads (default: all)"
    )
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds after which a run is given up")
    parser.add_argument("--only", nargs="+", choices=("dpjax", "pytorch", "jax"), help="leave the others out")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the numbers as JSON")
    args = parser.parse_args()
    if args.skip + args.interval > args.steps or args.interval < 1 or args.repeat < 1:
        parser.error("--steps must leave at least one --interval after --skip")
    return args


def find_programs(only: list[str] | None) -> list[Program]:
    """dpjax in this interpreter, and the peers when PEER names their environment."""
    programs = [Program("dpjax", (sys.executable, "-m", "dpjax", "train", "input.json"))]
    peer = os.environ.get("PEER")
    if peer:
        dp = str(Path(peer, "bin", "dp").absolute())
        if not os.access(dp, os.X_OK):
            sys.exit(f"PEER={peer}: found no executable {dp}; PEER names an environment with DeePMD-kit installed")
        rest = ("train", "input.json", "--skip-neighbor-stat")
        programs += [Program("pytorch", (dp, "--pt", *rest)), Program("jax", (dp, "--jax", *rest))]
    else:
        print("PEER is not set: no DeePMD-kit to compare with", file=sys.stderr)
    return [program for program in programs if not only or program.name in only]


def training_input(args: argparse.Namespace) -> dict:
    """The standard water input of DeePMD-kit, without validation."""
    return {
        "model": {
            "type_map": ["O", "H"],
            "descriptor": {
                "type": "se_e2_a", "rcut": 6.0, "rcut_smth": 0.5, "sel": [46, 92], "neuron": [25, 50, 100], "axis_neuron": 16,
                "type_one_side": True, "precision": "float64", "seed": 1,
            },
            "fitting_net": {"neuron": [240, 240, 240], "resnet_dt": True, "precision": "float64", "seed": 1},
        },
        "learning_rate": {"type": "exp", "start_lr": 0.001, "stop_lr": 3.51e-8, "decay_steps": 5000},
        "loss": {"type": "ener", "start_pref_e": 0.02, "limit_pref_e": 1, "start_pref_f": 1000, "limit_pref_f": 1},
        "training": {
            "training_data": {"systems": [str(Path(path).absolute()) for path in args.data], "batch_size": 1},
            "numb_steps": args.steps, "disp_freq": args.interval, "save_freq": 10 * args.steps, "seed": 1,
        },
    }  # fmt: skip


def measure(program: Program, args: argparse.Namespace, timing: Timing) -> None:
    """Runs a program once in a folder of its own and adds what was seen to ``timing``."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "input.json").write_text(json.dumps(training_input(args)))
        seen, error = watch(program, Path(folder), args)
    if error:
        timing.error = error
        return
    launch, lines = seen
    timing.start.append(lines[0][1] - launch)
    for (step, moment), (next_step, next_moment) in zip(lines, lines[1:], strict=False):
        if step >= args.skip:
            timing.step.append((next_moment - moment) / (next_step - step))


def watch(program: Program, folder: Path, args: argparse.Namespace):
    """Runs the program; returns (launch, [(step, moment it was written)]) and an error text."""
    with open(folder / "log", "w+") as log:
        launch = time.perf_counter()
        process = subprocess.Popen(program.command, cwd=folder, env=environment(args.threads), stdout=log, stderr=log)
        try:
            os.sched_setaffinity(process.pid, sorted(os.sched_getaffinity(0))[: args.threads])
            lines = follow(process, folder / "lcurve.out", launch + args.timeout)
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        if len(lines) < 3:
            return None, " | ".join(log.read().strip().splitlines()[-3:]) or "wrote no learning curve"
    return (launch, lines), ""


def follow(process: subprocess.Popen, path: Path, deadline: float) -> list[tuple[int, float]]:
    """Steps of a growing learning curve with the moments at which they were seen, until the process ends."""
    lines: dict[int, float] = {}
    size = 0
    while process.poll() is None and time.perf_counter() < deadline:
        time.sleep(POLL)
        now = time.perf_counter()
        if path.exists() and path.stat().st_size != size:
            text = path.read_text()
            size = len(text.encode())
            for line in text[: text.rfind("\n") + 1].splitlines():
                if line.strip() and not line.startswith("#"):
                    lines.setdefault(int(line.split()[0]), now)
    return sorted(lines.items())


def environment(threads: int) -> dict[str, str]:
    """The same number of threads for every program; plain lines, no accelerator."""
    names = ("OMP_NUM_THREADS", "DP_INTRA_OP_PARALLELISM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {
        **os.environ,
        **dict.fromkeys(names, str(threads)),
        "DP_INTER_OP_PARALLELISM_THREADS": "1",
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(REPOSITORY),
    }


def summary(args: argparse.Namespace, timings: dict[str, Timing]) -> dict:
    ours = median(timings["dpjax"].step) if timings.get("dpjax") and timings["dpjax"].step else None
    programs = {}
    for name, timing in timings.items():
        if timing.error:
            programs[name] = {"error": timing.error}
            continue
        step = median(timing.step)
        programs[name] = {
            "seconds_per_step": step,
            "spread": [min(timing.step), max(timing.step)],
            "seconds_to_first_line": median(timing.start),
            "ratio_to_dpjax": None if ours is None else step / ours,
        }
    machine = {"machine": platform.machine(), "threads": args.threads, "python": platform.python_version()}
    what = {"data": args.data, "steps": args.steps, "skip": args.skip, "repeat": args.repeat}
    return {"benchmark": "train_step", **machine, **what, "programs": programs}


def print_table(result: dict) -> None:
    print(
        f"\n{'program':<10} {'ms/step':>9} {'min':>8} {'max':>8} {'x dpjax':>8} {'start s':>8}   {result['threads']} threads"
    )
    for name, row in result["programs"].items():
        if "error" in row:
            print(f"{name:<10} failed: {row['error']}")
            continue
        low, high = (1000 * t for t in row["spread"])
        ratio = "" if row["ratio_to_dpjax"] is None else f"{row['ratio_to_dpjax']:.2f}"
        start = row["seconds_to_first_line"]
        print(f"{name:<10} {1000 * row['seconds_per_step']:9.1f} {low:8.1f} {high:8.1f} {ratio:>8} {start:8.1f}")


if __name__ == "__main__":
    main()
