#!/usr/bin/env python3
"""One training step and one evaluation of each family of descriptors: dpjax beside DeePMD-kit's backends, in one run.

    python benchmarks/families.py                                      dpjax alone
    PEER=DIR python benchmarks/families.py --repeat 3                  with the DeePMD-kit installed in the environment DIR
    PEER=DIR python benchmarks/families.py --families se_e3 se_e3_tebd
    PEER=DIR python benchmarks/families.py --only dpjax pytorch jax    also with its JAX backend, which is slow to compile
    PEER=DIR python benchmarks/families.py --parts step --families dpa4-mini    which DeePMD-kit does not read from other programs

Sizes are those of DeePMD-kit's examples for water; se_atten is se_atten_v2 and dpa1 se_atten with type vectors in its embedding
network, with the number of their attention layers. All
programs train from the same input, and evaluate one model with the statistics of the data. Times are taken as in train_step.py
and evaluation.py; families come one after the other, and programs alternate within each. "dev F" is the largest difference
of a force over the root mean square of the forces.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

from common import (
    STANDARD,
    WATER,
    Failure,
    Program,
    atoms_per_frame,
    find_peer,
    find_programs,
    finish,
    machine_facts,
    print_table,
    spread,
    take_turns,
    water_input,
)
from evaluation import Bench
from frames import first_frame, repeated, repetitions
from options import add_length, add_setting, add_timeout, new_parser, parsed, system, whole
from watching import train

PARTS = ("step", "evaluation")
_CUT = {"rcut": 6.0, "rcut_smth": 0.5}
_ATTENTION = {"type": "se_atten_v2", **_CUT, "sel": 120, "neuron": [25, 50, 100], "axis_neuron": 16, "attn": 128}
_DPA1 = _ATTENTION | {"type": "dpa1", "tebd_dim": 8, "type_one_side": True}
_REPFORMER = {
    "rcut": 4.0, "rcut_smth": 3.5, "nsel": 48, "g1_dim": 128, "g2_dim": 32, "attn2_hidden": 32, "attn2_nhead": 4,
    "attn1_hidden": 128, "attn1_nhead": 4, "axis_neuron": 4, "update_h2": False, "update_g1_has_attn": False,
    "update_g2_has_g1g1": False, "update_style": "res_residual", "update_residual": 0.01, "update_residual_init": "norm",
    "attn2_has_gate": True, "use_sqrt_nnei": True, "g1_out_conv": True, "g1_out_mlp": True,
}  # fmt: skip
_REPINIT = {
    "tebd_dim": 8, "rcut": 6.0, "rcut_smth": 0.5, "nsel": 120, "neuron": [25, 50, 100], "axis_neuron": 12,
    "activation_function": "tanh", "three_body_sel": 48, "three_body_rcut": 4.0, "three_body_rcut_smth": 3.5,
    "use_three_body": True,
}  # fmt: skip
_REPFLOW = {
    "n_dim": 128, "e_dim": 64, "a_dim": 32, "e_rcut": 6.0, "e_rcut_smth": 5.3, "e_sel": 120, "a_rcut": 4.0, "a_rcut_smth": 3.5,
    "a_sel": 30, "axis_neuron": 4, "fix_stat_std": 0.3, "a_compress_rate": 1, "a_compress_e_rate": 2, "a_compress_use_split": True,
    "smooth_edge_update": True, "edge_init_use_dist": True, "use_exp_switch": True, "update_style": "res_residual",
    "update_residual": 0.1, "update_residual_init": "const",
}  # fmt: skip


def _dpa2(nlayers: int, **others: bool) -> dict:
    layers = _REPFORMER | {"nlayers": nlayers} | others
    return {"descriptor": {"type": "dpa2", "repinit": _REPINIT, "repformer": layers, "add_tebd_to_repinit_out": False}}


def _dpa3(nlayers: int, **others: object) -> dict:
    act = {"activation_function": "silut:10.0"}
    flow = _REPFLOW | {"nlayers": nlayers} | others
    return {"descriptor": {"type": "dpa3", "repflow": flow, **act, "use_tebd_bias": False, "concat_output_tebd": False}}


_DPA4 = {
    "type": "dpa4", "sel": 120, "rcut": 6.0, "channels": 32, "n_radial": 16, "lmax": 2, "mmax": 1, "n_blocks": 2, "so2_layers": 3,
}  # fmt: skip
_DYNAMIC = {"e_sel": 1200, "a_sel": 300, "use_dynamic_sel": True, "sel_reduce_factor": 10.0}
FAMILIES: dict[str, dict] = {  # what water_input takes
    "se_e2_a": {"descriptor": STANDARD},
    "se_e2_r": {
        "descriptor": {"type": "se_e2_r", **_CUT, "sel": [46, 92], "neuron": [5, 10, 20], "type_one_side": True},
        "fitting": (120, 120, 120),
    },
    "se_e3": {"descriptor": {"type": "se_e3", **_CUT, "rcut": 5.8, "sel": [40, 80], "neuron": [2, 4, 8]}},
    "se_atten-0": {"descriptor": _ATTENTION | {"attn_layer": 0}},
    "se_atten-2": {"descriptor": _ATTENTION | {"attn_layer": 2}},
    "dpa1-0": {"descriptor": _DPA1 | {"attn_layer": 0}},
    "dpa1-2": {"descriptor": _DPA1 | {"attn_layer": 2}},
    "se_e3_tebd": {
        "descriptor": {"type": "se_e3_tebd", **_CUT, "rcut": 4.0, "sel": 40, "neuron": [2, 4, 8], "tebd_dim": 8},
    },
    "dpa2-small": _dpa2(3, update_g2_has_attn=False),
    "dpa2-medium": _dpa2(6, update_g2_has_attn=True),
    "dpa3-L3": _dpa3(3),
    "dpa3-L6": _dpa3(6),
    "dpa3-L6-dynamic": _dpa3(6, **_DYNAMIC),
    "dpa4-mini": {
        "descriptor": _DPA4,
        "fitting": {"type": "dpa4_ener", "neuron": [0]},
        "kind": "dpa4",
        "optimizer": {"type": "HybridMuon", "weight_decay": 0.001},
    },
}


def main() -> None:
    args = parse_args()
    programs = {program.name: program for program in find_programs(args.only) if args.only or program.name != "jax"}
    facts = machine_facts(args.threads)
    rows = {name: measure_family(args, programs, name) for name in args.families}
    what = {
        "data": args.data, "atoms_training": atoms_per_frame([args.data]), "atoms_evaluation": args.size, "batch": args.batch,
        "precision": args.precision, "steps": args.steps, "skip": args.skip, "calls": args.calls, "repeat": args.repeat,
    }  # fmt: skip
    result = {"benchmark": "families", **facts, **what, "families": rows}
    show(result, list(programs))
    failed = any("error" in numbers for row in rows.values() for part in row.values() for numbers in part.values())
    finish(args, result, failed)


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__, repeat=1)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES), help="leave the others out")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="leave the other out")
    parser.add_argument("--data", type=system, default=WATER[0], metavar="DIR", help="system O H to train on")
    add_timeout(parser)
    add_length(parser, steps=60, interval=10, skip=20)
    parser.add_argument("--size", type=whole, default=192, help="atoms of the evaluated frame, about (default: 192)")
    parser.add_argument("--calls", type=whole, default=5, help="evaluations that count (default: 5)")
    parser.add_argument("--warm-up", type=whole, default=2, help="evaluations before them (default: 2)")
    add_setting(parser)
    parser.set_defaults(model=None)  # which evaluation.Bench would evaluate instead of one of its own
    return parsed(parser)


def measure_family(args: argparse.Namespace, programs: dict[str, Program], family: str) -> dict[str, dict]:
    """Numbers of each program under ``step`` and ``evaluation``, or under ``error`` why there are none."""
    print(family, file=sys.stderr)
    model = FAMILIES[family]
    parts = {
        "step": lambda: training(args, programs, model),
        "evaluation": lambda: evaluation(args, list(programs), model),
    }
    return {part: run() if part in args.parts else {} for part, run in parts.items()}


def training(args: argparse.Namespace, programs: dict[str, Program], model: dict) -> dict[str, dict]:
    """Seconds of a training step."""
    content = water_input(
        [args.data], steps=args.steps, interval=args.interval, batch=args.batch, precision=args.precision, **model
    )

    def measure(name: str, repetition: int) -> list[float]:
        run = train(programs[name], content, threads=args.threads, timeout=args.timeout)
        return run.seconds_per_step(args.skip)

    results, errors = take_turns(list(programs), args.repeat, measure)
    numbers = {name: {"error": text} for name, text in errors.items()}
    for name in results.keys() - errors.keys():
        times = [t for run in results[name] for t in run]
        numbers[name] = {"seconds": median(times), "spread": spread(times)}
    return numbers


def evaluation(args: argparse.Namespace, names: list[str], model: dict) -> dict[str, dict]:
    """Rows of ``evaluation.py``."""
    frame = first_frame(args.data)
    copies = repetitions(max(1, round(args.size / len(frame["atype"]))))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args, Path(folder), find_peer() if set(names) - {"dpjax"} else None, **model)
        try:
            files, errors = bench.write_models(names)
            rows, more = bench.evaluate(repeated(frame, copies), {n: f for n, f in files.items() if n not in errors})
        except Failure as failure:
            return {name: {"error": str(failure)} for name in names}
    return {row["program"]: row for row in rows} | {name: {"error": t} for name, t in (errors | more).items()}


def show(result: dict, names: list[str]) -> None:
    peers = [name for name in names if name != "dpjax"]
    rows, remarks = [], []
    for family, parts in result["families"].items():
        row = [family]
        for part in PARTS:
            seconds = {name: numbers.get("seconds") for name, numbers in parts[part].items()}
            row += [f"{1000 * seconds[name]:.1f}" if seconds.get(name) else "" for name in names]
            for peer in peers if "dpjax" in names else ():
                both = seconds.get(peer) and seconds.get("dpjax")
                row.append(f"{seconds[peer] / seconds['dpjax']:.2f}" if both else "")
            remarks += [
                [family, f"{part}, {name}: failed: {n['error']}"] for name, n in parts[part].items() if "error" in n
            ]
        gap = next((n["deviation"]["force"] for n in parts["evaluation"].values() if n.get("deviation")), None)
        rows.append([*row, "" if gap is None else f"{gap:.0e}"])
    ratios = [f"{peer}/dpjax" for peer in peers if "dpjax" in names]
    times = [*(f"{name} ms" for name in names), *ratios]
    title = (
        f"one training step ({result['atoms_training']} atoms, batch {result['batch']}), then energy, force and virial (about "
        f"{result['atoms_evaluation']} atoms): {result['threads']} threads, {result['precision']}"
    )
    print_table(title, ["family", *times, *times, "dev F"], rows + remarks)


if __name__ == "__main__":
    main()
