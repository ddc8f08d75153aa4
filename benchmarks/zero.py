#!/usr/bin/env python3
"""Memory of a device for the training step, with the state of the training split over devices (training/zero_stage).

    python benchmarks/zero.py                                          stages 0 to 3, on 1, 2 and 4 virtual CPU devices
    python benchmarks/zero.py --devices 8 --optimizer HybridMuon --fitting 512 512 512

Trains nothing: the step of the standard water model is compiled, and the compiler says what it needs on one device: arguments (the
state and a batch), results (the state again, in the same buffers), and what it works in. The batch has one frame for each device.
What counts beside it, and is the same at every stage, is the program. A fresh process compiles each step.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from common import Failure, atoms_per_frame, environment, finish, machine_facts, print_table, water_input
from options import add_data, amount, output_file, whole

STAGES = (0, 1, 2, 3)
OPTIMIZERS = ("Adam", "AdamW", "AdaMuon", "HybridMuon")
COLUMNS = ("state", "arguments", "results", "work")
MIB = 2.0**20


def main() -> None:
    args = parse_args()
    if args.measure:
        print(json.dumps(measured(args.measure)))
        return
    facts = machine_facts(threads=1)
    runs = {f"{n} devices, stage {stage}": (n, stage) for n in args.devices for stage in (STAGES if n > 1 else (0,))}
    rows = {name: outcome(args, n, stage) for name, (n, stage) in runs.items()}
    show(args, rows)
    settings = {"data": args.data, "optimizer": args.optimizer, "fitting": args.fitting, "unit": "bytes on one device"}
    finish(args, {"settings": settings, "facts": facts, "runs": rows}, any("error" in row for row in rows.values()))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data(parser)
    parser.add_argument(
        "--devices", type=whole, nargs="+", default=[1, 2, 4], help="virtual devices of a run (default: 1 2 4)"
    )
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="Adam", help="default: Adam")
    parser.add_argument(
        "--fitting",
        type=whole,
        nargs="+",
        default=[240, 240, 240],
        help="widths of the fitting net (default: 240 240 240)",
    )
    parser.add_argument(
        "--timeout", type=amount, default=300.0, metavar="S", help="seconds for one step (default: 300)"
    )
    parser.add_argument("--output", type=output_file, metavar="FILE", help="write the numbers as JSON")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)  # what the process of one step does
    return parser.parse_args()


def outcome(args: argparse.Namespace, n_device: int, stage: int) -> dict:
    """What a process measures, or why it failed."""
    print(f"{n_device} devices, stage {stage}", file=sys.stderr, flush=True)
    try:
        return compiled(args, n_device, stage)
    except Failure as failure:
        return {"error": str(failure)}


def compiled(args: argparse.Namespace, n_device: int, stage: int) -> dict:
    content = water_input(args.data, steps=1, interval=1, batch=n_device, fitting=args.fitting)
    content["training"]["zero_stage"] = stage
    content["optimizer"] = {"type": args.optimizer}
    env = environment(1) | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={n_device}"}
    with tempfile.TemporaryDirectory(prefix="dpjax-zero-") as folder:
        path = Path(folder, "input.json")
        path.write_text(json.dumps(content))
        command = [sys.executable, __file__, "--measure", str(path)]
        try:
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=args.timeout)
        except subprocess.TimeoutExpired as late:
            raise Failure(f"not compiled after {args.timeout:g} s; raise --timeout") from late
    if done.returncode:
        raise Failure((done.stderr.strip().splitlines() or ["no message"])[-1])
    return json.loads(done.stdout.splitlines()[-1])


def measured(path: Path) -> dict:
    """Bytes on one device for the training step of an input; see ``COLUMNS``."""
    import jax

    from dpjax.config import load
    from dpjax.training.devices import place_batch, place_state
    from dpjax.training.programs import step_functions
    from dpjax.training.setup import prepare

    jax.config.update("jax_enable_x64", True)
    setup = prepare(load(path))
    n_device = 1 if setup.mesh is None else setup.mesh.size
    state = setup.zero.placed(setup.initial_state())
    stats = place_state(setup.variables["stats"], setup.mesh)
    parts = setup.training.next_parts()
    data = place_batch(setup.training.source.batch(parts, n_device, n_device), setup.mesh)
    step, _ = step_functions(setup)
    memory = step.lower(state, stats, data).compile().memory_analysis()
    return {
        "state": sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state)),
        "arguments": memory.argument_size_in_bytes,
        "results": memory.output_size_in_bytes,
        "work": memory.temp_size_in_bytes,
    }


def show(args: argparse.Namespace, rows: dict[str, dict]) -> None:
    table = [
        [name, f"failed: {row['error']}"] if "error" in row else [name, *(f"{row[key] / MIB:.2f}" for key in COLUMNS)]
        for name, row in rows.items()
    ]
    title = (
        f"MiB on one device, {args.optimizer}, fitting {args.fitting}, {atoms_per_frame(args.data)} atoms in a frame"
    )
    print_table(title, ["", *COLUMNS], table)


if __name__ == "__main__":
    main()
