#!/usr/bin/env python3
"""Seconds from the start of a process to its first training step on very many tiny systems.

    python benchmarks/many_systems.py                                  1,000, 10,000 and 50,000 systems
    python benchmarks/many_systems.py --systems 2000 --format hdf5     groups of one file instead of directories

The data are made in a temporary folder, 7 files for each system: systems of 3 to 9 atoms (O, H) in a cubic cell, with energies and
forces that mean nothing. Finding and opening the systems, statistics, compilation and the first step are in the time; the data
were just written, so that their files are in memory. The model is small (se_e2_a 10-20-40, fitting 60-60), so that the data count.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median

import h5py
import numpy as np
from common import find_programs, finish, machine_facts, print_table, spread, take_turns, water_input
from options import add_timeout, new_parser, whole
from watching import train

SMALL = {
    "type": "se_e2_a", "rcut": 4.0, "rcut_smth": 0.5, "sel": [12, 20], "neuron": [10, 20, 40], "axis_neuron": 8,
    "type_one_side": True,
}  # fmt: skip
EDGE = 12.0  # angstrom


def main() -> None:
    args = parse_args()
    (program,) = find_programs(["dpjax"], peers=())
    facts = machine_facts(args.threads)
    results: dict[str, list] = {}
    errors: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in args.systems:
            root = make_data(Path(folder, f"{number}"), number, args.frames, args.format)
            content = water_input([root], steps=2, interval=1, batch="auto", descriptor=SMALL, fitting=(60, 60))

            def measure(name: str, repetition: int, content: dict = content) -> float:
                return train(program, content, threads=args.threads, timeout=args.timeout).start

            own, failed = take_turns([f"{number}"], args.repeat, measure)
            results, errors = results | own, errors | failed
    result = summary(args, facts, results, errors)
    show(result)
    finish(args, result, bool(errors))


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__, repeat=1, peers=())
    parser.add_argument(
        "--systems", type=whole, nargs="+", default=[1000, 10000, 50000], metavar="N", help="numbers of systems"
    )
    parser.add_argument("--frames", type=whole, default=2, help="frames of each system (default: 2)")
    parser.add_argument("--format", choices=("npy", "hdf5"), default="npy", help="directories, or groups of one file")
    add_timeout(parser)
    return parser.parse_args()


def make_data(root: Path, number: int, n_frame: int, kind: str) -> Path:
    """Writes the systems below ``root``, a thousand in each folder, or into one file; returns what ``systems`` names."""
    rng = np.random.default_rng(0)
    if kind == "npy":
        for i in range(number):
            write_directory(root / f"{i // 1000:04d}" / f"{i:06d}", *one_system(rng, n_frame))
        return root
    root.mkdir()
    with h5py.File(root / "data.h5", "w") as file:
        for i in range(number):
            types, arrays = one_system(rng, n_frame)
            group = file.create_group(f"{i:06d}")
            group["type.raw"], group["type_map.raw"] = types, ["O", "H"]
            for name, values in arrays.items():
                group[f"set.000/{name}.npy"] = values
    return root / "data.h5"


def one_system(rng: np.random.Generator, n_frame: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Types and arrays: grid points 1.6 angstrom apart, each moved a little."""
    n_atom = int(rng.integers(3, 10))
    types = np.sort(np.append(0, rng.integers(0, 2, n_atom - 1)))
    grid = np.stack(np.meshgrid(*3 * [np.arange(3)], indexing="ij"), axis=-1).reshape(-1, 3)
    coord = np.stack([rng.permutation(grid)[:n_atom] for _ in range(n_frame)]) * 1.6
    return types, {
        "coord": (coord + rng.uniform(-0.2, 0.2, coord.shape)).reshape(n_frame, -1),
        "box": np.tile(EDGE * np.eye(3).ravel(), (n_frame, 1)),
        "energy": rng.normal(size=n_frame),
        "force": rng.normal(size=(n_frame, 3 * n_atom)),
    }


def write_directory(folder: Path, types: np.ndarray, arrays: dict[str, np.ndarray]) -> None:
    part = folder / "set.000"
    part.mkdir(parents=True)
    (folder / "type.raw").write_text("\n".join(map(str, types)) + "\n")
    (folder / "type_map.raw").write_text("O\nH\n")
    for name, values in arrays.items():
        np.save(part / f"{name}.npy", values)


def summary(args: argparse.Namespace, facts: dict, results: dict, errors: dict) -> dict:
    rows = {number: {"error": text} for number, text in errors.items()}
    done = {number: seconds for number, seconds in results.items() if number not in errors}
    rows |= {number: {"seconds": median(seconds), "spread": spread(seconds)} for number, seconds in done.items()}
    what = {"format": args.format, "frames_per_system": args.frames, "repeat": args.repeat}
    return {"benchmark": "many_systems", **facts, **what, "systems": {str(n): rows[str(n)] for n in args.systems}}


def show(result: dict) -> None:
    rows = []
    for number, row in result["systems"].items():
        if "error" in row:
            rows.append([number, f"failed: {row['error']}"])
        else:
            rows.append([number, *(f"{t:.1f}" for t in (row["seconds"], *row["spread"]))])
    title = (
        f"start to end of first step: {result['threads']} threads, {result['frames_per_system']} frames of 3 to 9 atoms per "
        f"system, {result['format']}, {result['repeat']} runs"
    )
    print_table(title, ["systems", "s", "min", "max"], rows)


if __name__ == "__main__":
    main()
