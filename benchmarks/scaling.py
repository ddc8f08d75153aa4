#!/usr/bin/env python3
"""Time and memory of a training step by number of atoms and of neighbours: models that pass messages, beside DeePMD-kit's backends.

    python benchmarks/scaling.py                                       dpjax alone
    PEER=DIR python benchmarks/scaling.py --only dpjax pytorch         with the DeePMD-kit installed in the environment DIR
    python benchmarks/scaling.py --families dpa3-L6 --sizes 192 3072
    python benchmarks/scaling.py --sizes 192 --rcut 4 5 6              neighbours, at one number of atoms

A frame of water is repeated along its cell vectors and trained on by each program in a process of its own, from one input, at the
sizes of DeePMD-kit's examples (families.py). Programs take turns. A step is the time between lines of the learning curve, memory
the most that the process had, its data and compiler included. A program that failed at a size is not tried at larger ones.
--rcut replaces the largest cut-off of the model.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from common import (
    PRECISIONS,
    WATER,
    Failure,
    find_programs,
    finish,
    machine_facts,
    print_table,
    take_turns,
    water_input,
)
from families import FAMILIES
from frames import first_frame, repeated, repetitions
from options import add_length, add_timeout, new_parser, parsed, system, whole
from watching import train

MESSAGES = [name for name in FAMILIES if name.startswith(("dpa2", "dpa3", "dpa4"))]
SIZES = (192, 384, 768, 1536, 3072)


def main() -> None:
    args = parse_args()
    programs = {program.name: program for program in find_programs(args.only)}
    facts, rows, errors = machine_facts(args.threads), [], {}
    for family in args.families:
        failed: dict[str, str] = {}
        for size in sorted(args.sizes):
            for rcut in args.rcut or [None]:
                with tempfile.TemporaryDirectory() as folder:
                    atoms, model = write_frame(Path(folder), args.data, size), with_cutoff(FAMILIES[family], rcut)
                    print(f"{family}, {atoms} atoms", file=sys.stderr)
                    content = water_input(
                        [Path(folder)], steps=args.steps, interval=args.interval, precision=args.precision, **model
                    )

                    def measure(name: str, repetition: int, content: dict = content) -> tuple[list[float], float]:
                        run = train(programs[name], content, threads=args.threads, timeout=args.timeout)
                        return run.seconds_per_step(args.skip), run.peak

                    results, new = take_turns([name for name in programs if name not in failed], args.repeat, measure)
                failed |= {name: f"{atoms} atoms: {text}" for name, text in new.items()}
                for name in results.keys() - new.keys():
                    times = [t for own, _ in results[name] for t in own]
                    peak = max(peak for _, peak in results[name])
                    row = {"family": family, "atoms": atoms, "rcut": rcut, "program": name}
                    row |= {"seconds": median(times), "min": min(times), "max": max(times), "mib": peak / 2**20}
                    rows.append(row)
                    print(f"{name}: {row['seconds']:.3f} s, {row['mib']:.0f} MiB", file=sys.stderr, flush=True)
        errors |= {f"{family}, {name}": text for name, text in failed.items()}
    what = {
        "data": args.data,
        "precision": args.precision,
        "steps": args.steps,
        "skip": args.skip,
        "repeat": args.repeat,
    }
    result = {"benchmark": "scaling", **facts, **what, "rows": rows, "errors": errors}
    show(result)
    finish(args, result, False)


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__, repeat=1)
    parser.add_argument(
        "--families", nargs="+", choices=MESSAGES, default=["dpa2-small", "dpa3-L3"], help="which models"
    )
    parser.add_argument("--sizes", type=whole, nargs="+", default=list(SIZES), help="atoms, about")
    parser.add_argument("--rcut", type=float, nargs="+", help="largest cut-offs, angstrom")
    parser.add_argument(
        "--data", type=system, default=WATER[0], metavar="DIR", help="system O H whose first frame is repeated"
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="float32", help="of both networks (default: float32)"
    )
    add_timeout(parser)
    add_length(parser, steps=6, interval=2, skip=2)
    return parsed(parser)


def write_frame(folder: Path, data: Path, size: int) -> int:
    """A system of one frame of about ``size`` atoms, with labels of zero; the number of its atoms."""
    frame = first_frame(data)
    copies = max(1, round(size / len(frame["atype"])))
    large = repeated(frame, repetitions(copies))
    n = len(large["atype"])
    (folder / "set.000").mkdir()
    np.savetxt(folder / "type.raw", large["atype"], fmt="%d")
    (folder / "type_map.raw").write_text("O\nH\n")
    arrays = {"coord": large["coord"].reshape(1, -1), "box": large["cell"].reshape(1, 9)}
    arrays |= {"energy": np.zeros(1), "force": np.zeros((1, 3 * n))}
    for name, array in arrays.items():
        np.save(folder / "set.000" / f"{name}.npy", array)
    return n


def with_cutoff(model: dict, rcut: float | None) -> dict:
    """A model whose largest cut-off is ``rcut``, as far from the beginning of its switch as before."""
    if rcut is None:
        return model
    model = copy.deepcopy(model)
    descriptor = model["descriptor"]
    if descriptor["type"] == "dpa4":  # whose sel bounds the neighbours, and whose switch begins at 0
        descriptor |= {"rcut": rcut, "sel": round(descriptor["sel"] * max(1.0, rcut / descriptor["rcut"]) ** 3)}
        return model
    part, key = (descriptor["repflow"], "e_rcut") if "repflow" in descriptor else (descriptor["repinit"], "rcut")
    part[f"{key}_smth"] = max(0.5, part[f"{key}_smth"] + rcut - part[key])
    part[key] = rcut
    return model


def show(result: dict) -> None:
    header = ["family", "atoms", "rcut", "program", "ms/step", "min", "max", "ms/atom", "MiB"]
    rows = [
        [
            row["family"], str(row["atoms"]), "" if row["rcut"] is None else f"{row['rcut']:g}", row["program"],
            *(f"{1e3 * row[key]:.0f}" for key in ("seconds", "min", "max")), f"{1e3 * row['seconds'] / row['atoms']:.2f}",
            f"{row['mib']:.0f}",
        ]
        for row in result["rows"]
    ]  # fmt: skip
    print_table(
        f"a training step of water: {result['threads']} threads, {result['precision']}, one frame", header, rows
    )
    for name, text in result["errors"].items():
        print(f"{name}: {text}")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(str(failure))
