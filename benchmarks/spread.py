#!/usr/bin/env python3
"""Time and memory per device of one structure spread over 1, 2, 4 virtual devices, by number of atoms.

    python benchmarks/spread.py
    python benchmarks/spread.py --sizes 12288 98304 --devices 1 2 4 8 --threads 8
    python benchmarks/spread.py --precision float32 --skin 0.5

A frame of water is repeated along its cell vectors; the model is an untrained standard water model (se_e2_a 25-50-100, axis
16, fitting 240-240-240), whose cost is that of a trained one. Each number of devices has a process of its own, which splits the
CPU into so many devices of XLA; they share its cores, so the time tells what the division costs, not what it gains. "step" is a
molecular dynamics step with the neighbour list at hand, "list" one that makes it anew. Memory is XLA's own account of the
compiled step for one device: arguments, results and scratch. "received" are the places for copies of other devices' atoms,
beside those for own ones.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from common import (
    PRECISIONS,
    STANDARD,
    WATER,
    Failure,
    environment,
    finish,
    machine_facts,
    pin,
    print_table,
    take_turns,
)
from frames import first_frame, repeated, repetitions
from options import add_timeout, new_parser, system, whole

SIZES = (1536, 12288)
DEVICES = (1, 2, 4)


def main() -> None:
    args = parse_args()
    if args.worker:
        print(json.dumps(work(args)))
        return
    facts, rows, failed = machine_facts(args.threads), [], {}
    for size in args.sizes:
        print(f"{size} atoms", file=sys.stderr)
        results, errors = take_turns([str(n) for n in args.devices], args.repeat, partial(measure, args, size))
        failed |= {f"{n} devices": f"{size} atoms: {text}" for n, text in errors.items()}
        rows += [joined(runs) for n, runs in results.items() if runs and n not in errors]
    what = {"data": args.data, "precision": args.precision, "skin": args.skin, "calls": args.calls}
    result = {"benchmark": "spread", **facts, **what, "rows": rows, "errors": failed}
    show(result)
    finish(args, result, bool(failed))


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__, repeat=1, peers=())
    add_timeout(parser)
    parser.add_argument("--data", type=system, default=WATER[0], metavar="DIR", help="system O H to repeat")
    parser.add_argument("--sizes", type=whole, nargs="+", default=SIZES, metavar="N", help="numbers of atoms, about")
    parser.add_argument("--devices", type=whole, nargs="+", default=DEVICES, metavar="N", help="numbers of devices")
    parser.add_argument("--precision", choices=PRECISIONS, default="float64", help="of the networks")
    parser.add_argument("--skin", type=float, default=1.0, help="of the neighbour list, angstrom (default: 1)")
    parser.add_argument("--calls", type=whole, default=5, help="steps that count (default: 5)")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(args: argparse.Namespace, size: int, devices: str, repetition: int) -> dict:
    """What a process with so many devices measured."""
    frame = first_frame(args.data)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "frame.npz")
        np.savez(file, **repeated(frame, repetitions(max(1, round(size / len(frame["atype"]))))))
        command = [sys.executable, __file__, "--worker", str(file), "--devices", devices, "--precision", args.precision]
        command += ["--skin", str(args.skin), "--calls", str(args.calls)]
        env = environment(args.threads) | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            pin(process.pid, args.threads)
            out, log = process.communicate(timeout=args.timeout)
        except subprocess.TimeoutExpired:
            raise Failure("took too long (see --timeout)") from None
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        raise Failure(f"ended with status {process.returncode}: {' | '.join(log.strip().splitlines()[-3:])}")
    return json.loads(out)


def work(args: argparse.Namespace) -> dict:
    """In the process of one number of devices."""
    import jax

    import dpjax
    from dpjax.interfaces.spread import SpreadPotential

    frame, (devices,) = dict(np.load(args.worker)), args.devices
    descriptor = STANDARD | {"precision": args.precision, "seed": 1}
    fitting = {"neuron": [240, 240, 240], "resnet_dt": True, "precision": args.precision, "seed": 1}
    pot = dpjax.build({"type_map": ["O", "H"], "descriptor": descriptor, "fitting_net": fitting})
    start = time.perf_counter()
    structure = SpreadPotential(pot, devices).structure(**frame, skin=args.skin)
    divided = time.perf_counter() - start

    def timed(coord: np.ndarray) -> float:
        begin = time.perf_counter()
        jax.block_until_ready(structure(coord, frame["cell"])[1])
        return time.perf_counter() - begin

    first = timed(frame["coord"])
    steps = [timed(frame["coord"]) for _ in range(args.calls)]
    lists = []
    for _ in range(2):  # one atom leaves the list, which is then made again; and comes back
        for far in (0.51 * args.skin, 0.0):
            moved = frame["coord"] + far * (np.arange(len(frame["coord"])) == 0)[:, None] * np.array([1.0, 0.0, 0.0])
            lists.append(timed(moved))
    plan = structure.plan
    return {
        "devices": devices,
        "atoms": len(frame["atype"]),
        "own": plan.n_own,
        "received": plan.n_received,
        "hops": plan.hops,
        "divisions": structure.divisions,
        "seconds_divide": divided,
        "seconds_first": first,
        "seconds_step": steps,
        "seconds_list": lists,
        "memory": structure.memory(),
    }


def joined(runs: list[dict]) -> dict:
    """Medians over repetitions."""
    row = dict(runs[0])
    for name in ("seconds_step", "seconds_list"):
        row[name] = median(t for run in runs for t in run[name])
    return row | {name: median(run[name] for run in runs) for name in ("seconds_divide", "seconds_first")}


def show(result: dict) -> None:
    rows = []
    for row in result["rows"]:
        per_atom = [f"{1e6 * row[name] / row['atoms']:.1f}" for name in ("seconds_step", "seconds_list")]
        rows.append([
            str(row["devices"]), row["atoms"], row["own"], row["received"], *per_atom, f"{row['seconds_first']:.1f}",
            f"{row['memory'] / 2**20:.0f}",
        ])  # fmt: skip
    rows += [[name, f"failed: {text}"] for name, text in result["errors"].items()]
    title = f"one structure on several devices: {result['threads']} threads in all, {result['precision']}, skin {result['skin']} A"
    header = ["devices", "atoms", "own", "received", "step us/atom", "list us/atom", "first s", "MiB/device"]
    print_table(title, header, rows)


if __name__ == "__main__":
    main()
