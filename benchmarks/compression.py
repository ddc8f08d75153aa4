#!/usr/bin/env python3
"""Compressed models beside full ones: time of energy, force and virial of water, of dpjax and of DeePMD-kit's PyTorch backend.

    python benchmarks/compression.py                                   dpjax alone
    PEER=DIR python benchmarks/compression.py --repeat 3               with the DeePMD-kit installed in the environment DIR
    PEER=DIR python benchmarks/compression.py --precision float32 --sizes 192 1536

A frame of water is repeated along its cell vectors. dpjax trains the standard water model for a few steps, so that its statistics
are those of the data, and DeePMD-kit converts it; each program compresses it with its own command, at the default step and the
smallest distance in the data. "dpjax" and "dpjax compressed" are Potential.evaluate, "artifact" and "artifact compressed" the
portable files in their own runtime. Each program evaluates each size in a process of its own; programs alternate, and the time is
that of a whole call. "speed-up" is the full model's time over that of the compressed one of the same program; "dev F" the root
mean square of the difference in force from the first program, eV/angstrom.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from common import (
    PRECISIONS,
    REPOSITORY,
    WATER,
    Failure,
    choose,
    find_peer,
    finish,
    machine_facts,
    print_table,
    spread,
    take_turns,
    water_input,
)
from evaluation import Bench
from frames import first_frame, repeated, repetitions
from options import add_timeout, new_parser, system, whole

SIZES = (192, 1536, 12288)
FULL = {"dpjax compressed": "dpjax", "artifact compressed": "artifact", "pytorch compressed": "pytorch"}
FILES = {  # of each program, and which worker evaluates it
    "dpjax": ("model.dp", "dpjax"),
    "dpjax compressed": ("compressed.dpx", "dpjax"),
    "artifact": ("model.dpx", "artifact"),
    "artifact compressed": ("compressed.dpx", "artifact"),
    "pytorch": ("model.pth", "deepmd"),
    "pytorch compressed": ("compressed.pth", "deepmd"),
}


def main() -> None:
    args = parse_args()
    peer = find_peer()
    names = choose(args.only, [name for name in FILES if peer or not name.startswith("pytorch")])
    facts = machine_facts(args.threads)
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args, Path(folder), peer)
        failed = make_models(bench, names)
        frame = first_frame(args.data)
        for size in args.sizes:
            copies = repetitions(max(1, round(size / len(frame["atype"]))))
            print(f"{size} atoms", file=sys.stderr)
            new, errors = evaluate(bench, repeated(frame, copies), [name for name in names if name not in failed])
            rows += new
            failed |= {name: f"{size} atoms: {text}" for name, text in errors.items()}
    what = {"data": args.data, "precision": args.precision, "calls": args.calls, "repeat": args.repeat}
    result = {"benchmark": "compression", **facts, **what, "rows": rows, "errors": failed}
    show(result)
    finish(args, result, bool(failed))


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__, repeat=1)
    add_timeout(parser)
    parser.add_argument("--data", type=system, default=WATER[0], metavar="DIR", help="system O H to train on")
    parser.add_argument("--sizes", type=whole, nargs="+", default=SIZES, metavar="N", help="numbers of atoms, about")
    parser.add_argument("--precision", choices=PRECISIONS, default="float64", help="of the networks")
    parser.add_argument("--calls", type=whole, default=5, help="calls that count, in each process (default: 5)")
    parser.add_argument("--warm-up", type=whole, default=2, help="calls before them (default: 2)")
    return parser.parse_args()


def make_models(bench: Bench, names: list[str]) -> dict[str, str]:
    """Writes the files of the programs; returns by name why one could not be made."""
    content = water_input([bench.args.data], steps=20, interval=20, precision=bench.args.precision)
    content["dpjax"] = {"compilation_cache": "off"}
    (bench.folder / "input.json").write_text(json.dumps(content))
    ours = (sys.executable, "-m", "dpjax")
    print("making models", file=sys.stderr)
    try:
        bench.run(*ours, "train", "input.json")
        bench.run(*ours, "convert", bench.folder, "model.dp")
    except Failure as failure:
        sys.exit(f"dpjax could not make the model that is to be compressed: {failure}")
    dp = (bench.peer / "bin" / "dp", "--pt") if bench.peer else ()
    steps = {
        "artifact": (*ours, "freeze", "-c", "model.dp", "-o", "model.dpx", "--platforms", "cpu"),
        "dpjax compressed": (
            *ours, "compress", "-i", "model.dp", "-t", "input.json", "-o", "compressed.dpx", "--platforms", "cpu",
        ),
        "pytorch": (*dp[:1], "convert-backend", "model.dp", "model.pth"),
        "pytorch compressed": (*dp, "compress", "-i", "model.pth", "-o", "compressed.pth", "-t", "input.json"),
    }  # fmt: skip
    failed = {}
    for name, command in steps.items():
        needed = {name, "artifact compressed"} if name == "dpjax compressed" else {name, f"{name} compressed"}
        wanted = needed & set(names)
        try:
            if wanted:
                bench.run(*command)
        except Failure as failure:
            failed |= dict.fromkeys(wanted, f"making the model: {failure}")
    return failed


def evaluate(bench: Bench, frame: dict, names: list[str]) -> tuple[list[dict], dict[str, str]]:
    """A row for each program, and why programs failed."""
    np.savez(bench.folder / "frame.npz", **frame)
    worker = REPOSITORY / "benchmarks" / "evaluation_worker.py"

    def measure(name: str, repetition: int) -> dict:
        file, program = FILES[name]
        python = bench.peer / "bin" / "python" if program == "deepmd" else sys.executable
        bench.run(
            python, worker, "--program", program, "--model", file, "--frame", "frame.npz", "--result", "result.npz",
            "--calls", bench.args.calls, "--warm-up", bench.args.warm_up,
        )  # fmt: skip
        return dict(np.load(bench.folder / "result.npz"))

    results, errors = take_turns(names, bench.args.repeat, measure)
    done = {name: runs for name, runs in results.items() if name not in errors}
    reference = next(iter(done.values()))[0]["force"].ravel() if done else None
    rows = []
    for name, runs in done.items():
        calls = [t for run in runs for t in run["calls"]]
        gap = float(np.sqrt(np.mean((runs[0]["force"].ravel() - reference) ** 2)))
        atoms = len(frame["atype"])
        rows.append(
            {"program": name, "atoms": atoms, "seconds": median(calls), "spread": spread(calls), "deviation": gap}
        )
    return rows, errors


def show(result: dict) -> None:
    seconds = {(row["program"], row["atoms"]): row["seconds"] for row in result["rows"]}
    rows = []
    for row in result["rows"]:
        full = seconds.get((FULL.get(row["program"]), row["atoms"]))
        first = seconds.get(("dpjax compressed", row["atoms"]))
        times = [f"{1e6 * t / row['atoms']:.1f}" for t in (row["seconds"], *row["spread"])]
        ratios = [f"{full / row['seconds']:.2f}" if full else "", f"{row['seconds'] / first:.2f}" if first else ""]
        rows.append([row["program"], row["atoms"], *times, *ratios, f"{row['deviation']:.0e}"])
    rows += [[name, f"failed: {text}"] for name, text in result["errors"].items()]
    title = f"energy, force and virial: {result['threads']} threads, one frame a call, {result['precision']}"
    print_table(title, ["program", "atoms", "us/atom", "min", "max", "speed-up", "x dpjax compressed", "dev F"], rows)


if __name__ == "__main__":
    main()
