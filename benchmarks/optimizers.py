#!/usr/bin/env python3
"""Optimizers side by side: force error and time per step after the same number of steps with the same model and data.

    python benchmarks/optimizers.py                                    dpjax alone, every optimizer
    python benchmarks/optimizers.py --optimizers Adam HybridMuon --start-lr 0.001 0.003
    PEER=DIR python benchmarks/optimizers.py --repeat 3                with the DeePMD-kit installed in the environment DIR

Trains the model of configs/water_se_e2_a.json on examples/water with energies and forces (LKF knows no virials). Every
optimizer has its default options. The learning rate starts at --start-lr and falls by the factor of the configuration, over the
steps of the run; with several rates each optimizer is trained with each of them. The error is rmse_f_val in lcurve.out,
averaged over the last few lines. Each repetition has another seed, the same for all; optimizers alternate.
"""

from __future__ import annotations

import argparse
from math import isfinite
from statistics import median

from accuracy import CONFIG, demo_input, error_of
from common import Failure, find_programs, finish, machine_facts, print_table, program_rows, spread, take_turns
from options import amount, new_parser, whole
from watching import Line, Run, train

OPTIMIZERS = ("Adam", "AdamW", "AdaMuon", "HybridMuon", "LKF")
PARTS = (0.25, 0.5, 1.0)  # of the steps, after which the error is looked at


def main() -> None:
    args = parse_args()
    programs = {program.name: program for program in find_programs(args.only, peers=("pytorch",))}
    rates = args.start_lr or [demo_input(1, 1)["learning_rate"]["start_lr"]]
    runs = {
        f"{program} {optimizer} {rate:g}": (program, optimizer, rate)
        for optimizer in args.optimizers
        for rate in (rates[:1] if optimizer == "LKF" else rates)  # which has no rate
        for program in programs
    }
    facts = machine_facts(args.threads)

    def measure(name: str, repetition: int) -> dict:
        program, optimizer, rate = runs[name]
        content = training_input(optimizer, rate, args.steps, args.interval, seed=1 + repetition)
        run = train(programs[program], content, threads=args.threads, timeout=60 * args.minutes)
        return seen(run, args)

    results, errors = take_turns(list(runs), args.repeat, measure)
    result = summary(args, facts, results, errors)
    show(result)
    finish(args, result, bool(errors))


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__, repeat=1, peers=("pytorch",))
    parser.add_argument(
        "--optimizers", nargs="+", choices=OPTIMIZERS, default=OPTIMIZERS, help="which to train with (default: all)"
    )
    parser.add_argument(
        "--start-lr",
        type=amount,
        nargs="+",
        metavar="RATE",
        help="first learning rates (default: of the configuration)",
    )
    parser.add_argument("--steps", type=whole, default=2000, help="steps of each run (default: 2000)")
    parser.add_argument(
        "--interval", type=whole, default=50, help="steps between two lines of lcurve.out (default: 50)"
    )
    parser.add_argument("--window", type=whole, default=5, help="lines that are averaged (default: 5)")
    parser.add_argument("--minutes", type=amount, default=20.0, help="a run is given up after this time (default: 20)")
    args = parser.parse_args()
    if args.steps < 4 * args.window * args.interval:
        parser.error("--steps must be 4 * --window * --interval or more: raise it or lower the others")
    return args


def training_input(optimizer: str, rate: float, steps: int, interval: int, seed: int) -> dict:
    """The demo configuration with another optimizer, rate and length; without virials."""
    content = demo_input(interval, seed)
    content["optimizer"] = {"type": optimizer}
    schedule = content["learning_rate"]
    schedule["stop_lr"] *= rate / schedule["start_lr"]
    schedule["start_lr"] = rate
    content["loss"] |= {"start_pref_v": 0, "limit_pref_v": 0}
    content["training"] |= {"numb_steps": steps, "save_freq": 10 * steps}
    return content


def seen(run: Run, args: argparse.Namespace) -> dict:
    """The errors and times of a run that came to its end."""
    if args.steps - run.lines[-1].step >= args.interval:
        raise Failure(f"came to step {run.lines[-1].step} of {args.steps}; {run.ended}")
    errors = [error_of(until(run.lines, part * args.steps), args.window) for part in PARTS]
    times = run.seconds_per_step(skip=2 * args.interval)
    return {
        "errors": [e if isfinite(e) else None for e in errors],
        "seconds_per_step": median(times),
        "start": run.start,
    }


def until(lines: list[Line], step: float) -> list[Line]:
    return [line for line in lines if line.step <= step]


def summary(args: argparse.Namespace, facts: dict, results: dict, errors: dict) -> dict:
    rows = {name: {"error": text} for name, text in errors.items()}
    for name, runs in results.items():
        if name in errors:
            continue
        final = [run["errors"][-1] for run in runs if run["errors"][-1] is not None]
        rows[name] = {
            "rmse_f": median(final) if len(final) == len(runs) else None,
            "spread": spread(final) if final else None,
            "seconds_per_step": median(run["seconds_per_step"] for run in runs),
            "runs": runs,
        }
    what = {
        "config": CONFIG.name, "steps": args.steps, "interval": args.interval, "window": args.window, "parts": PARTS,
        "repeat": args.repeat,
    }  # fmt: skip
    return {"benchmark": "optimizers", **facts, **what, "optimizers": rows}


def show(result: dict) -> None:
    def cells(row: dict) -> list:
        early = [[run["errors"][i] for run in row["runs"]] for i in range(len(PARTS) - 1)]
        found = [
            *(None if None in errors else median(errors) for errors in early),
            row["rmse_f"],
            *(row["spread"] or ()),
        ]
        errors = ["" if error is None else f"{error:.4f}" for error in found] + ["", ""] * (row["spread"] is None)
        return [*errors, f"{1000 * row['seconds_per_step']:.2f}", f"{median(run['start'] for run in row['runs']):.1f}"]

    title = (
        f"force error (eV/angstrom) after {result['steps']} steps: {result['threads']} threads, {result['config']}, energies and "
        f"forces, batch 1, float64, mean of {result['window']} lines, {result['repeat']} run(s) each"
    )
    header = ["program, optimizer, rate", "25 %", "50 %", "100 %", "min", "max", "ms/step", "start s"]
    print_table(title, header, program_rows(result["optimizers"], cells))


if __name__ == "__main__":
    main()
