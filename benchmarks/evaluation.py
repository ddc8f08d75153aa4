#!/usr/bin/env python3
"""Time and memory of energy, force and virial by number of atoms: dpjax beside DeePMD-kit's backends.

    python benchmarks/evaluation.py                                    dpjax alone
    PEER=DIR python benchmarks/evaluation.py --repeat 3                with the DeePMD-kit installed in the environment DIR
    PEER=DIR python benchmarks/evaluation.py --sizes 192 1536 --only dpjax pytorch jax
    python benchmarks/evaluation.py --precision float32 --data DIR --model MODEL

A frame of water is repeated along its cell vectors. Without --model, dpjax trains the standard water model (se_e2_a 25-50-100,
axis 16, fitting 240-240-240) for a few steps, so that its statistics are those of the data. All programs evaluate this model;
DeePMD-kit converts it.

Each program evaluates each size in a process of its own; programs alternate. The time is that of a whole call from Python,
with arrays in and out and the neighbour search, after warm-up calls; "program" is the part of it that dpjax spends in the
compiled program. Memory is the largest of the process less the largest it had with everything imported and the model loaded,
so it includes what compilation needs. All calls have the same positions. Deviations are from the first peer in the table,
relative to its energy and to the root mean square of its forces. The JAX backend is measured where --only names it; to convert
the model it needs the package flatbuffers in its environment.
"""

from __future__ import annotations

import argparse
import json
import subprocess
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
    environment,
    find_peer,
    finish,
    machine_facts,
    pin,
    print_table,
    spread,
    take_turns,
    water_input,
)
from frames import first_frame, repeated, repetitions
from options import add_timeout, new_parser, system, whole

SIZES = (192, 1536, 5184, 12288, 41472, 98304)
SUFFIX = {"dpjax": ".dp", "pytorch": ".pth", "jax": ".hlo"}
DEVIATIONS = ("energy", "force", "virial")


def main() -> None:
    args = parse_args()
    peer = find_peer()
    names = choose(args.only, list(SUFFIX) if peer else ["dpjax"])
    if not args.only:
        names = [name for name in names if name != "jax"]
    facts = machine_facts(args.threads)
    frame = first_frame(args.data)
    rows: list[dict] = []
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args, Path(folder), peer)
        models, failed = bench.write_models(names)
        for size in args.sizes:
            copies = repetitions(max(1, round(size / len(frame["atype"]))))
            now = [name for name in models if name not in failed and (name == "dpjax" or size <= args.peer_limit)]
            print(f"{size} atoms", file=sys.stderr)
            new, errors = bench.evaluate(repeated(frame, copies), {name: models[name] for name in now})
            rows += new
            failed |= {name: f"{size} atoms: {text}" for name, text in errors.items()}
    what = {"data": args.data, "precision": args.precision, "calls": args.calls, "repeat": args.repeat}
    what |= {"model": args.model, "peer_limit": args.peer_limit if peer else None}
    result = {"benchmark": "evaluation", **facts, **what, "rows": rows, "errors": failed}
    show(result)
    finish(args, result, bool(failed))


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__, repeat=1)
    add_timeout(parser)
    parser.add_argument(
        "--data", type=system, default=WATER[0], metavar="DIR", help="system O H whose first frame is taken"
    )
    parser.add_argument("--model", type=Path, help="a trained water model (.dp, or a training folder of dpjax)")
    parser.add_argument("--sizes", type=whole, nargs="+", default=SIZES, metavar="N", help="numbers of atoms, about")
    parser.add_argument(
        "--peer-limit", type=int, default=12288, metavar="N", help="peers only up to here (default: 12288)"
    )
    parser.add_argument("--precision", choices=PRECISIONS, default="float64", help="of the networks, without --model")
    parser.add_argument("--calls", type=whole, default=5, help="calls that count, in each process (default: 5)")
    parser.add_argument("--warm-up", type=whole, default=2, help="calls before them (default: 2)")
    args = parser.parse_args()
    if args.model and not args.model.exists():
        parser.error(f"--model {args.model}: no such file or folder; leave --model out to have one made")
    return args


class Bench:
    """Runs the programs in a folder."""

    def __init__(self, args: argparse.Namespace, folder: Path, peer: Path | None, **model) -> None:
        """``model``: what ``water_input`` takes in place of the standard model."""
        self.args, self.folder, self.peer, self.model = args, folder, peer, model

    def run(self, *command) -> None:
        """Runs a command to its end.

        Raises:
            Failure: it failed or took too long.
        """
        with open(self.folder / "log", "w+") as log:
            process = subprocess.Popen(
                [str(word) for word in command],
                cwd=self.folder,
                env=environment(self.args.threads),
                stdout=log,
                stderr=log,
            )
            try:
                pin(process.pid, self.args.threads)
                status = process.wait(self.args.timeout)
            except subprocess.TimeoutExpired:
                raise Failure("took too long (see --timeout)") from None
            finally:
                process.kill()
                process.wait()
            log.seek(0)
            tail = " | ".join(log.read().strip().splitlines()[-3:])
        if status:
            raise Failure(f"ended with status {status}: {tail}")

    def write_models(self, names: list[str]) -> tuple[dict[str, Path], dict[str, str]]:
        """A file of the same model for each program, and why one could not be made."""
        source = self.folder / "model.dp"
        trained = self.args.model.absolute() if self.args.model else self.folder
        try:
            if not self.args.model:
                print("making a model", file=sys.stderr)
                content = water_input(
                    [self.args.data], steps=20, interval=20, precision=self.args.precision, **self.model
                )
                content["dpjax"] = {"compilation_cache": "off"}
                Path(self.folder, "input.json").write_text(json.dumps(content))
                self.run(sys.executable, "-m", "dpjax", "train", "input.json")
            self.run(sys.executable, "-m", "dpjax", "convert", trained, source)
        except Failure as failure:
            sys.exit(f"dpjax could not make the model that is to be evaluated: {failure}")
        models, errors = {}, {}
        for name in names:
            models[name] = source.with_suffix(SUFFIX[name])
            try:
                if name != "dpjax":
                    self.run(self.peer / "bin" / "dp", "convert-backend", source, models[name])
            except Failure as failure:
                errors[name] = f"conversion of the model: {failure}"
        return models, errors

    def evaluate(self, frame: dict, models: dict[str, Path]) -> tuple[list[dict], dict[str, str]]:
        """A row for each program, and why programs failed."""
        np.savez(self.folder / "frame.npz", **frame)

        def measure(name: str, repetition: int) -> dict:
            result = self.folder / "result.npz"
            result.unlink(missing_ok=True)
            python, program = (sys.executable, "dpjax") if name == "dpjax" else (self.peer / "bin" / "python", "deepmd")
            self.run(
                python, REPOSITORY / "benchmarks" / "evaluation_worker.py", "--program", program, "--model", models[name],
                "--frame", "frame.npz", "--result", result, "--calls", self.args.calls, "--warm-up", self.args.warm_up,
            )  # fmt: skip
            return dict(np.load(result))

        results, errors = take_turns(list(models), self.args.repeat, measure)
        done = {name: runs for name, runs in results.items() if name not in errors}
        reference = next((name for name in done if name != "dpjax"), None)
        atoms = len(frame["atype"])
        others = {name: done[reference][0] if reference and name != reference else None for name in done}
        return [row(name, atoms, runs, others[name]) for name, runs in done.items()], errors


def row(name: str, atoms: int, runs: list[dict], reference: dict | None) -> dict:
    """Numbers of one program at one size."""
    calls = [t for run in runs for t in run["calls"]]
    inside = [t for run in runs for t in run["program"]]
    return {
        "program": name,
        "atoms": atoms,
        "seconds": median(calls),
        "spread": spread(calls),
        "seconds_program": median(inside) if inside else None,
        "seconds_first_call": median(run["warm_up"][0] for run in runs),
        "memory": median(int(run["memory_peak"] - run["memory_before"]) for run in runs),
        "memory_whole_process": median(int(run["memory_peak"]) for run in runs),
        "deviation": reference and {key: deviation(runs[0][key], reference[key]) for key in DEVIATIONS},
    }


def deviation(value: np.ndarray, reference: np.ndarray) -> float:
    """Largest difference over the root mean square of the reference."""
    return float(np.abs(value.ravel() - reference.ravel()).max() / np.sqrt(np.mean(reference**2)))


def show(result: dict) -> None:
    rows, ours = [], {row["atoms"]: row["seconds"] for row in result["rows"] if row["program"] == "dpjax"}
    for row in result["rows"]:
        micro = 1e6 / row["atoms"]
        inside = row["seconds_program"] and f"{micro * row['seconds_program']:.1f}"
        ratio = f"{row['seconds'] / ours[row['atoms']]:.2f}" if row["atoms"] in ours else ""
        gaps = [f"{row['deviation'][key]:.0e}" if row["deviation"] else "" for key in DEVIATIONS[:2]]
        times = [f"{micro * t:.1f}" for t in (row["seconds"], *row["spread"])]
        rows.append([
            row["program"], row["atoms"], *times, inside, ratio, f"{row['seconds_first_call']:.1f}",
            f"{row['memory'] / 2**20:.0f}", *gaps,
        ])  # fmt: skip
    rows += [[name, f"failed: {text}"] for name, text in result["errors"].items()]
    if result["peer_limit"]:
        rows.append(["", f"peers were not run above {result['peer_limit']} atoms (--peer-limit)"])
    precision = "precision as in the given model" if result["model"] else result["precision"]
    title = (
        f"energy, force and virial: {result['threads']} threads, one frame a call, {precision}, {result['calls']} calls"
    )
    header = ["program", "atoms", "us/atom", "min", "max", "program", "x dpjax", "first s", "MiB", "dev E", "dev F"]
    print_table(title, header, rows)


if __name__ == "__main__":
    main()
