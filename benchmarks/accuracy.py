#!/usr/bin/env python3
"""Time to accuracy: seconds until the validation force error of the demo training is below a target.

    python benchmarks/accuracy.py                                      dpjax alone
    PEER=DIR python benchmarks/accuracy.py --repeat 3                  with the DeePMD-kit installed in the environment DIR
    python benchmarks/accuracy.py --target 0.12 --minutes 10

Trains configs/water_se_e2_a.json on examples/water. The error is rmse_f_val in lcurve.out, averaged over the last few lines,
each of which is an error on some validation frames. The clock starts when the program is launched, so imports,
statistics and compilation count; dpjax finds no compiled programs. Each repetition has another seed, the same for all
programs; programs alternate. A run stops at the target, at the last step of the configuration, or when its minutes are over.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from math import isfinite
from statistics import mean, median

from common import (
    REPOSITORY,
    Failure,
    find_programs,
    finish,
    machine_facts,
    print_table,
    program_rows,
    spread,
    take_turns,
)
from options import amount, new_parser, whole
from watching import Line, train

CONFIG = REPOSITORY / "configs" / "water_se_e2_a.json"
COLUMN = "rmse_f_val"


def main() -> None:
    args = parse_args()
    programs = {program.name: program for program in find_programs(args.only, peers=("pytorch",))}
    facts = machine_facts(args.threads)

    def measure(name: str, repetition: int) -> dict:
        content = demo_input(args.interval, seed=1 + repetition)
        run = train(
            programs[name], content, threads=args.threads, timeout=60 * args.minutes,
            enough=lambda lines: error_of(lines, args.window) < args.target,
        )  # fmt: skip
        if COLUMN not in run.lines[-1].values:
            raise Failure(f"lcurve.out has no column {COLUMN}; {run.ended}")
        last, error = run.lines[-1], error_of(run.lines, args.window)
        reached = error < args.target
        if run.failed and not reached:
            raise Failure(run.ended)
        return {
            "reached": reached,
            "seconds": last.moment - run.launch,
            "step": last.step,
            "error": error if isfinite(error) else None,
            "start": run.start,
        }

    results, errors = take_turns(list(programs), args.repeat, measure)
    result = summary(args, facts, results, errors)
    show(result)
    finish(args, result, bool(errors))


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__, repeat=1, peers=("pytorch",))
    parser.add_argument("--target", type=amount, default=0.15, help="force error, eV/angstrom (default: 0.15)")
    parser.add_argument("--minutes", type=amount, default=10.0, help="a run is stopped after this time (default: 10)")
    parser.add_argument(
        "--interval", type=whole, default=50, help="steps between two lines of lcurve.out (default: 50)"
    )
    parser.add_argument("--window", type=whole, default=5, help="lines that are averaged (default: 5)")
    return parser.parse_args()


def demo_input(interval: int, seed: int) -> dict:
    """The demo configuration with whole paths; the comments for people are left out."""
    content = {key: part for key, part in json.loads(CONFIG.read_text()).items() if not key.startswith("_")}
    training = content["training"]
    for section in (training["training_data"], training["validation_data"]):
        section["systems"] = [str(REPOSITORY / name) for name in section["systems"]]
    training["disp_freq"] = interval
    for section in (training, content["model"]["descriptor"], content["model"]["fitting_net"]):
        section["seed"] = seed
    return content


def error_of(lines: Sequence[Line], window: int) -> float:
    """Mean of the force error over the last lines; infinite while there are fewer."""
    last = [line.values.get(COLUMN, float("inf")) for line in lines[-window:]]
    return mean(last) if len(last) == window else float("inf")


def summary(args: argparse.Namespace, facts: dict, results: dict, errors: dict) -> dict:
    programs = {name: {"error": text} for name, text in errors.items()}
    for name, runs in results.items():
        if name in errors:
            continue
        done = [run["seconds"] for run in runs if run["reached"]]
        programs[name] = {
            "reached": len(done),
            "seconds_to_target": median(done) if len(done) == len(runs) else None,  # else the median would flatter
            "spread": spread(done) if done else None,
            "runs": runs,
        }
    what = {
        "config": CONFIG.name, "target": args.target, "minutes": args.minutes, "interval": args.interval,
        "window": args.window, "repeat": args.repeat,
    }  # fmt: skip
    return {"benchmark": "accuracy", **facts, **what, "programs": programs}


def show(result: dict) -> None:
    def cells(row: dict) -> list:
        seconds = "not in all runs" if row["seconds_to_target"] is None else f"{row['seconds_to_target']:.1f}"
        limits = [f"{t:.1f}" for t in row["spread"]] if row["spread"] else ["", ""]
        errors = [
            f"{run['error']:.3f}" for run in row["runs"] if run["error"] is not None
        ]  # none before --window lines
        steps, start = (median(run[key] for run in row["runs"]) for key in ("step", "start"))
        reached = f"{row['reached']} of {len(row['runs'])}"
        return [reached, seconds, *limits, f"{steps:.0f}", max(errors, default=""), f"{start:.1f}"]

    title = (
        f"time to a force error of {result['target']} eV/angstrom: {result['threads']} threads, {result['config']}, "
        f"96 atoms per frame, batch 1, float64, at most {result['minutes']:g} minutes, mean of {result['window']} lines"
    )
    print_table(
        title,
        ["program", "reached", "s", "min", "max", "steps", "largest last error", "start s"],
        program_rows(result["programs"], cells),
    )


if __name__ == "__main__":
    main()
