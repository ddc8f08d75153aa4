#!/usr/bin/env python3
"""Training samples (frames) per second by batch size and precision, for dpjax and DeePMD-kit.

    python benchmarks/throughput.py                                    dpjax alone
    PEER=DIR python benchmarks/throughput.py --data DIR1 DIR2          with the DeePMD-kit installed in the environment DIR
    python benchmarks/throughput.py --batches 1 4 --precisions float32

The standard water model (se_e2_a 25-50-100, axis 16, fitting 240-240-240) is trained as in train_step.py and timed from
outside by the lines of lcurve.out. The first --skip steps do not count; then a run goes on for --seconds, and for three lines
at least. The median over the lines of all repetitions counts, so a line with a compilation in it does not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from statistics import median

from common import (
    PRECISIONS,
    atoms_per_frame,
    find_programs,
    finish,
    machine_facts,
    print_table,
    spread,
    take_turns,
    water_input,
)
from options import add_data, add_timeout, amount, new_parser, whole
from watching import Line, train

STEPS = 1_000_000  # more than any run gets to: it is stopped when enough was seen


def main() -> None:
    args = parse_args()
    programs = {program.name: program for program in find_programs(args.only)}
    facts = machine_facts(args.threads)
    rows: list[dict] = []

    def enough(lines: Sequence[Line]) -> bool:
        counted = [line for line in lines if line.step >= args.skip]
        return len(counted) > 3 and counted[-1].moment - counted[0].moment >= args.seconds

    for precision in args.precisions:
        for batch in args.batches:
            print(f"{precision}, batch {batch}", file=sys.stderr)
            content = water_input(args.data, steps=STEPS, interval=args.interval, batch=batch, precision=precision)

            def measure(name: str, repetition: int, content: dict = content) -> list[float]:
                run = train(programs[name], content, threads=args.threads, timeout=args.timeout, enough=enough)
                return run.seconds_per_step(args.skip)

            results, errors = take_turns(list(programs), args.repeat, measure)
            rows += rows_of(precision, batch, results, errors)
    what = {"data": args.data, "atoms": atoms_per_frame(args.data), "skip": args.skip, "seconds": args.seconds}
    what |= {"interval": args.interval, "repeat": args.repeat}
    result = {"benchmark": "throughput", **facts, **what, "rows": rows}
    show(result)
    finish(args, result, any("error" in row for row in rows))


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__, repeat=1)
    add_data(parser)
    add_timeout(parser)
    parser.add_argument(
        "--batches", type=whole, nargs="+", default=[1, 2, 4, 8, 16], metavar="N", help="frames in a batch"
    )
    parser.add_argument(
        "--precisions", choices=PRECISIONS, nargs="+", default=list(PRECISIONS), help="of both networks"
    )
    parser.add_argument("--seconds", type=amount, default=10.0, help="how long each run is measured (default: 10)")
    parser.add_argument("--skip", type=int, default=10, help="steps at the start that do not count (default: 10)")
    parser.add_argument("--interval", type=whole, default=5, help="steps between two lines of lcurve.out (default: 5)")
    return parser.parse_args()


def rows_of(precision: str, batch: int, results: dict, errors: dict) -> list[dict]:
    """A row for each program at one setting."""
    what = {"precision": precision, "batch": batch}
    steps = {name: [t for times in runs for t in times] for name, runs in results.items() if name not in errors}
    ours = median(steps["dpjax"]) if "dpjax" in steps else None
    rows = [
        {
            "program": name,
            **what,
            "samples_per_second": batch / median(times),
            "seconds_per_step": median(times),
            "spread": spread(times),
            "ratio_to_dpjax": ours and median(times) / ours,
        }
        for name, times in steps.items()
    ]
    return rows + [{"program": name, **what, "error": text} for name, text in errors.items()]


def show(result: dict) -> None:
    rows = []
    for row in result["rows"]:
        if "error" in row:
            rows.append([row["program"], f"{row['precision']}, batch {row['batch']}, failed: {row['error']}"])
            continue
        times = [f"{1000 * t:.1f}" for t in (row["seconds_per_step"], *row["spread"])]
        ratio = row["ratio_to_dpjax"] and f"{row['ratio_to_dpjax']:.2f}"
        rate = f"{row['samples_per_second']:.1f}"
        rows.append([row["program"], row["precision"], row["batch"], rate, *times, ratio])
    title = (
        f"training throughput: {result['threads']} threads, {result['atoms']} atoms per frame, {result['repeat']} runs"
    )
    print_table(title, ["program", "precision", "batch", "samples/s", "ms/step", "min", "max", "x dpjax"], rows)


if __name__ == "__main__":
    main()
