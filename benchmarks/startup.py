#!/usr/bin/env python3
"""Seconds from the start of a process to the end of its first training step, for dpjax and DeePMD-kit.

    python benchmarks/startup.py                                       dpjax alone
    PEER=DIR python benchmarks/startup.py --data DIR1 DIR2             with the DeePMD-kit installed in the environment DIR

The moment that counts is that of the first line in lcurve.out, which is written after the first step: imports, reading of data,
statistics, compilation and the step are in it. The model is the standard water model (se_e2_a 25-50-100, axis 16, fitting
240-240-240). "dpjax cold" begins with an empty folder for compiled programs (dpjax/compilation_cache); "dpjax warm" is the same
training once more with the folder that the cold one left. The peers skip their neighbour statistics (--skip-neighbor-stat).
Runs alternate; medians count. The very first run may also read programs and libraries from disk: see min and max.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from common import (
    atoms_per_frame,
    find_programs,
    finish,
    machine_facts,
    print_table,
    program_rows,
    spread,
    take_turns,
    water_input,
)
from options import add_data, add_setting, add_timeout, new_parser
from watching import train

STEPS = 2  # the cold run comes to its end, so that all its programs are kept


def main() -> None:
    args = parse_args()
    programs = {program.name: program for program in find_programs(args.only)}
    names = [n for name in programs for n in ((name,) if programs[name].is_peer else ("dpjax cold", "dpjax warm"))]
    facts = machine_facts(args.threads)
    content = water_input(args.data, steps=STEPS, interval=1, batch=args.batch, precision=args.precision)
    with tempfile.TemporaryDirectory() as folder:

        def measure(name: str, repetition: int) -> float:
            cache = Path(folder, str(repetition))  # cold makes it, warm finds it
            program = programs[name.split()[0]]
            return train(program, content, threads=args.threads, timeout=args.timeout, cache=str(cache)).start

        results, errors = take_turns(names, args.repeat, measure)
    result = summary(args, facts, results, errors)
    show(result)
    finish(args, result, bool(errors))


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    add_data(parser)
    add_timeout(parser)
    add_setting(parser)
    return parser.parse_args()


def summary(args: argparse.Namespace, facts: dict, results: dict, errors: dict) -> dict:
    programs = {name: {"error": text} for name, text in errors.items()}
    done = {name: seconds for name, seconds in results.items() if name not in errors}
    warm = median(done["dpjax warm"]) if "dpjax warm" in done else None
    for name, seconds in done.items():
        ratio = warm and median(seconds) / warm
        programs[name] = {"seconds": median(seconds), "spread": spread(seconds), "ratio_to_warm_dpjax": ratio}
    what = {
        "data": args.data, "frames": frames_in(args.data), "atoms": atoms_per_frame(args.data), "batch": args.batch,
        "precision": args.precision, "repeat": args.repeat,
    }  # fmt: skip
    return {"benchmark": "startup", **facts, **what, "programs": programs}


def frames_in(data: list[Path]) -> int:
    """Number of frames of all systems, whose statistics are part of the time."""
    return sum(len(np.load(file, mmap_mode="r")) for path in data for file in path.glob("set.*/coord.npy"))


def show(result: dict) -> None:
    def cells(row: dict) -> list:
        ratio = row["ratio_to_warm_dpjax"] and f"{row['ratio_to_warm_dpjax']:.2f}"
        return [*(f"{t:.1f}" for t in (row["seconds"], *row["spread"])), ratio]

    title = (
        f"start to end of first step: {result['threads']} threads, {result['frames']} frames, {result['atoms']} atoms per frame, "
        f"batch {result['batch']}, {result['precision']}, {result['repeat']} runs"
    )
    print_table(title, ["program", "s", "min", "max", "x dpjax warm"], program_rows(result["programs"], cells))


if __name__ == "__main__":
    main()
