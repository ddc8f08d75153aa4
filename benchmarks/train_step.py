#!/usr/bin/env python3
"""Seconds per training step: dpjax beside DeePMD-kit's PyTorch and JAX backends, in one run.

    python benchmarks/train_step.py                                    dpjax alone
    PEER=DIR python benchmarks/train_step.py --data DIR1 DIR2          with the DeePMD-kit installed in the environment DIR
    PEER=DIR python benchmarks/train_step.py --batch 8 --precision float32

Every program trains the standard water model (se_e2_a 25-50-100, axis 16, fitting 240-240-240) from the same input on the
same data with the same number of threads. A step's time is taken from outside, the same way for all: from the moments at which
lines appear in lcurve.out, without the first ones (compilation, first frames). Programs alternate; medians over all
repetitions count. "start s" is the time from launch to the first line, with nothing compiled before.
"""

from __future__ import annotations

import argparse
from statistics import median

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
from options import add_data, add_length, add_setting, add_timeout, new_parser, parsed
from watching import train


def main() -> None:
    args = parse_args()
    programs = {program.name: program for program in find_programs(args.only)}
    facts = machine_facts(args.threads)
    content = water_input(
        args.data, steps=args.steps, interval=args.interval, batch=args.batch, precision=args.precision
    )

    def measure(name: str, repetition: int) -> tuple[float, list[float]]:
        run = train(programs[name], content, threads=args.threads, timeout=args.timeout)
        return run.start, run.seconds_per_step(args.skip)

    results, errors = take_turns(list(programs), args.repeat, measure)
    result = summary(args, facts, results, errors)
    show(result)
    finish(args, result, bool(errors))


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    add_data(parser)
    add_timeout(parser)
    add_length(parser)
    add_setting(parser)
    return parsed(parser)


def summary(args: argparse.Namespace, facts: dict, results: dict, errors: dict) -> dict:
    steps = {name: [t for _, times in runs for t in times] for name, runs in results.items() if name not in errors}
    ours = median(steps["dpjax"]) if "dpjax" in steps else None
    programs = {name: {"error": text} for name, text in errors.items()}
    for name, times in steps.items():
        programs[name] = {
            "seconds_per_step": median(times),
            "spread": spread(times),
            "seconds_to_first_line": median(start for start, _ in results[name]),
            "ratio_to_dpjax": None if ours is None else median(times) / ours,
        }
    what = {
        "data": args.data, "atoms": atoms_per_frame(args.data), "batch": args.batch, "precision": args.precision,
        "steps": args.steps, "interval": args.interval, "skip": args.skip, "repeat": args.repeat,
    }  # fmt: skip
    return {"benchmark": "train_step", **facts, **what, "programs": programs}


def show(result: dict) -> None:
    def cells(row: dict) -> list:
        times = [f"{1000 * t:.1f}" for t in (row["seconds_per_step"], *row["spread"])]
        ratio = "" if row["ratio_to_dpjax"] is None else f"{row['ratio_to_dpjax']:.2f}"
        return [*times, ratio, f"{row['seconds_to_first_line']:.1f}"]

    title = (
        f"one training step: {result['threads']} threads, {result['atoms']} atoms per frame, batch {result['batch']}, "
        f"{result['precision']}, {result['repeat']} x {result['steps']} steps"
    )
    print_table(
        title, ["program", "ms/step", "min", "max", "x dpjax", "start s"], program_rows(result["programs"], cells)
    )


if __name__ == "__main__":
    main()
