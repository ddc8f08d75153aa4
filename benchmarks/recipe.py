#!/usr/bin/env python3
"""Force errors of a recipe beside those of other configurations at equal wall time, all trained by dpjax on the same data.

    python benchmarks/recipe.py                                        configs/water_dpa4.json beside water_se_e2_a.json
    python benchmarks/recipe.py --config configs/mixed_dpa4.json
    python benchmarks/recipe.py --against configs/water_se_e2_a.json configs/water_se_e2_a_standard.json --picture curves.png
    python benchmarks/recipe.py --steps 24 --probe 12 24                 does it work

Short runs, one after the other, say how long each takes to its first step and for a step. Each of the others is then trained on the
data of the recipe, with its batches and types, for as many steps as take the time of the recipe, with the learning rate spread over
them. Times are reckoned from the short runs: only these want an idle machine. Curves are those of rmse_f_val in lcurve.out, or of
mae_f_val where the loss is of absolute errors, so two curves are of one measure only where they say so; errors on all held-back
frames, in the last columns, always are. They are of the last parameters and, where a run keeps an average, of that.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

from common import REPOSITORY, Failure, Program, environment, find_programs, finish, machine_facts, print_table
from options import new_parser, whole
from watching import Run, train

COLUMNS = ("rmse_f_val", "mae_f_val")  # the second with a loss of absolute errors; of vectors where f_use_norm says so
ERRORS = (  # on all held-back frames
    ("rmse_force", "RMSE, all"), ("mae_force", "MAE, all"), ("rmse_force_averaged", "averaged: RMSE"),
    ("mae_force_averaged", "MAE"),
)  # fmt: skip
PARTS = (0.1, 0.25, 0.5, 0.75, 1.0)  # of the time


def main() -> None:
    args = parse_args()
    program = find_programs(["dpjax"])[0]
    recipe = opened(args.config)
    if args.steps:
        recipe["training"] |= {"numb_steps": args.steps, "save_freq": args.steps}
    paces = [probed(program, recipe, args.threads, args.probe[0])]
    seconds = paces[0].after(recipe["training"]["numb_steps"])
    contents = [recipe]
    for path in args.against:
        other = beside(opened(path), recipe)
        paces.append(probed(program, lasting(other, args.probe[1]), args.threads, args.probe[1]))
        contents.append(lasting(other, max(1, int((seconds - paces[-1].start) / paces[-1].step))))
    rows = []
    for path, content, pace in zip([args.config, *args.against], contents, paces, strict=True):
        steps = content["training"]["numb_steps"]
        print(f"{path.name}: {steps} steps of {1e3 * pace.step:.1f} ms", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            content["training"]["disp_freq"] = max(1, steps // 40)
            done = train(program, content, threads=args.threads, timeout=1e6, keep=Path(folder))
            if done.failed:
                raise Failure(done.ended)
            row = {"config": path.name, "steps": steps, "start": pace.start, "step": pace.step}
            rows.append(row | curve(done, pace) | tested(Path(folder), content, args.threads))
    result = {"benchmark": "recipe", **machine_facts(args.threads), "seconds": seconds, "rows": rows}
    show(result)
    if args.picture:
        draw(rows, args.picture)
    finish(args, result, False)


class Pace(NamedTuple):
    """How fast a training is, in seconds."""

    start: float  # to its first step
    step: float

    def after(self, steps: int) -> float:
        """Seconds from the launch to a step."""
        return self.start + steps * self.step


def probed(program: Program, content: dict, threads: int, steps: int) -> Pace:
    """The pace of a run of so many steps, whose first third does not count."""
    content = copy.deepcopy(content)
    content["training"] |= {"numb_steps": steps, "disp_freq": max(1, steps // 12), "save_freq": steps}
    content["training"].pop("validation_data", None)
    run = train(program, content, threads=threads, timeout=1e6)
    return Pace(run.start, median(run.seconds_per_step(steps // 3)))


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__, repeat=1, peers=())
    configs = REPOSITORY / "configs"
    parser.add_argument("--config", type=Path, default=configs / "water_dpa4.json", help="the recipe")
    parser.add_argument("--against", type=Path, nargs="+", default=[configs / "water_se_e2_a.json"], help="the others")
    parser.add_argument("--steps", type=whole, help="of the recipe, in place of its own number")
    parser.add_argument(
        "--probe", type=whole, nargs=2, default=[60, 1200], metavar="N",
        help="steps of the short runs, of the recipe and of the others (default: 60 1200)",
    )  # fmt: skip
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the curves")
    return parser.parse_args()


def opened(path: Path) -> dict:
    """A configuration with whole paths; the comments for people are left out."""
    content = {key: part for key, part in json.loads(path.read_text()).items() if not key.startswith("_")}
    for section in (content["training"]["training_data"], content["training"]["validation_data"]):
        systems = section["systems"]
        named = [str(REPOSITORY / name) for name in ([systems] if isinstance(systems, str) else systems)]
        section["systems"] = named[0] if isinstance(systems, str) else named
    return content


def beside(content: dict, recipe: dict) -> dict:
    """Another configuration on the data of the recipe."""
    content = copy.deepcopy(content)
    content["model"]["type_map"] = recipe["model"]["type_map"]
    content["model"]["descriptor"]["sel"] = "auto"
    for part in ("training_data", "validation_data"):
        content["training"][part] = recipe["training"][part]
    return content


def lasting(content: dict, steps: int) -> dict:
    """A configuration with another number of steps, over which its learning rate falls as before."""
    content = copy.deepcopy(content)
    rate, training = content["learning_rate"], content["training"]
    rate["decay_steps"] = max(1, round(rate["decay_steps"] * steps / training["numb_steps"]))
    training |= {"numb_steps": steps, "disp_freq": max(1, steps // 40), "save_freq": steps}
    return content


def curve(run: Run, pace: Pace) -> dict:
    """The name of the force error in the learning curve, and points of seconds since the launch, at this pace, and eV/angstrom."""
    for name in COLUMNS:
        points = [(pace.after(line.step), line.values[name]) for line in run.lines if name in line.values]
        if points:
            return {"measure": name, "curve": points}
    raise Failure(f"no column of the learning curve is one of {', '.join(COLUMNS)}")


def tested(folder: Path, content: dict, threads: int) -> dict[str, float]:
    """Errors on all held-back frames: of the last parameters and, where there are any, of the averaged ones."""
    averages = sorted(folder.glob("*_ema-*"), key=lambda path: path.stat().st_mtime)
    errors = errors_of(folder, folder, content, threads)
    averaged = errors_of(averages[-1], folder, content, threads) if averages else {}
    return errors | {f"{name}_averaged": value for name, value in averaged.items()}


def errors_of(model: Path, folder: Path, content: dict, threads: int) -> dict[str, float]:
    """What ``dpjax test`` says of the forces of a model."""
    systems = content["training"]["validation_data"]["systems"]
    command = [
        sys.executable,
        "-m",
        "dpjax",
        "test",
        "-m",
        str(model),
        "-s",
        *([systems] if isinstance(systems, str) else systems),
    ]
    subprocess.run(
        [*command, "--output", str(folder / "test.json")],
        check=True,
        env=environment(threads),
        stdout=subprocess.DEVNULL,
    )
    found = json.loads((folder / "test.json").read_text())["weighted"]
    return {"rmse_force": found["rmse_force"], "mae_force": found["mae_force"]}


def show(result: dict) -> None:
    last = result["seconds"]
    header = [
        "config",
        "steps",
        "ms/step",
        "curve",
        *(f"at {100 * part:.0f} %" for part in PARTS),
        *(head for _, head in ERRORS),
    ]
    rows = []
    for row in result["rows"]:
        points = [mean([e for t, e in row["curve"] if t <= part * last][-3:] or [float("nan")]) for part in PARTS]
        rows.append(
            [
                row["config"],
                str(row["steps"]),
                f"{1e3 * row['step']:.1f}",
                row["measure"],
                *(f"{e:.3f}" for e in points),
                *(f"{row[name]:.4f}" if name in row else "" for name, _ in ERRORS),
            ]
        )
    print_table(
        f"force error, eV/angstrom, after parts of {last:.0f} s (mean of three lines): {result['threads']} threads",
        header,
        rows,
    )


def draw(rows: list[dict], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    for row in rows:
        axes.semilogy(*zip(*row["curve"], strict=True), label=f"{row['config']}, {row['measure']}")
    axes.set(xlabel="wall time, s", ylabel="force error on held-back frames, eV/Å")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
