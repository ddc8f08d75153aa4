#!/usr/bin/env python3
"""Seconds per training step of an ensemble beside those of one model.

    python benchmarks/ensemble.py                                      ensembles of 2, 4 and 8
    python benchmarks/ensemble.py --members 4 --data DIR --repeat 3

Trains the standard water model (see train_step.py) alone and as ensembles that differ in ``dpjax/ensemble`` only. Times are taken
as in train_step.py; runs alternate. "x single" is the step of the ensemble in steps of one model: below the number of members
the ensemble is cheaper than separate runs, which also share no data pipeline.
"""

from __future__ import annotations

import argparse
from statistics import median

from common import atoms_per_frame, find_programs, finish, machine_facts, print_table, spread, take_turns, water_input
from options import add_data, add_length, add_setting, add_timeout, new_parser, parsed, whole
from watching import train


def main() -> None:
    args = parse_args()
    (program,) = find_programs(["dpjax"])
    facts = machine_facts(args.threads)
    content = water_input(
        args.data, steps=args.steps, interval=args.interval, batch=args.batch, precision=args.precision
    )

    def measure(name: str, repetition: int) -> list[float]:
        own = content | {"dpjax": content.get("dpjax", {}) | {"ensemble": int(name)}}
        return train(program, own, threads=args.threads, timeout=args.timeout).seconds_per_step(args.skip)

    sizes = [1, *(n for n in args.members if n != 1)]
    results, errors = take_turns([str(n) for n in sizes], args.repeat, measure)
    rows = {}
    for name in results.keys() - errors.keys():
        times = [t for run in results[name] for t in run]
        rows[int(name)] = {"seconds_per_step": median(times), "spread": spread(times)}
    for row in rows.values():
        row["times_single"] = row["seconds_per_step"] / rows[1]["seconds_per_step"] if 1 in rows else None
    what = {
        "data": args.data, "atoms": atoms_per_frame(args.data), "batch": args.batch, "precision": args.precision,
        "steps": args.steps, "interval": args.interval, "skip": args.skip, "repeat": args.repeat,
    }  # fmt: skip
    result = {"benchmark": "ensemble", **facts, **what, "members": dict(sorted(rows.items())), "errors": errors}
    show(result)
    finish(args, result, bool(errors))


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__)
    parser.add_argument("--members", nargs="+", type=whole, default=[2, 4, 8], help="sizes (default: 2 4 8)")
    add_data(parser)
    add_timeout(parser)
    add_length(parser)
    add_setting(parser)
    return parsed(parser)


def show(result: dict) -> None:
    rows = [
        [n, *(f"{1000 * t:.1f}" for t in (row["seconds_per_step"], *row["spread"])), f"{row['times_single']:.2f}"]
        for n, row in result["members"].items()
        if row["times_single"] is not None
    ]
    title = (
        f"one training step: {result['threads']} threads, {result['atoms']} atoms per frame, batch {result['batch']}, "
        f"{result['precision']}, {result['repeat']} x {result['steps']} steps"
    )
    print_table(
        title, ["members", "ms/step", "min", "max", "x single"], rows + [[n, t] for n, t in result["errors"].items()]
    )


if __name__ == "__main__":
    main()
