#!/usr/bin/env python3
"""Evaluates a model on one frame several times, in a process of its own; evaluation.py starts it.

    PYTHON benchmarks/evaluation_worker.py --program dpjax --model model.dp --frame frame.npz --result result.npz

PYTHON is the interpreter in which the program is installed. The result holds energy, force and virial, the seconds of each
call, and the peak memory before the first and after the last call.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

Outputs = tuple[np.ndarray, np.ndarray, np.ndarray]  # energy, force, virial of one frame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--program", choices=("dpjax", "artifact", "deepmd"), required=True, help="what evaluates the model"
    )
    parser.add_argument("--model", required=True, help="model file that the program reads")
    parser.add_argument("--frame", required=True, help=".npz with coord (atoms, 3), cell (3, 3), atype (atoms,)")
    parser.add_argument("--result", required=True, help=".npz to write")
    parser.add_argument("--calls", type=int, default=5, help="calls that count")
    parser.add_argument("--warm-up", type=int, default=2, help="calls before them")
    args = parser.parse_args()
    frame = dict(np.load(args.frame))
    program: list[float] = []  # seconds in the compiled program, where it can be told apart
    call = {"dpjax": dpjax, "artifact": artifact, "deepmd": deepmd}[args.program](args.model, frame, program)
    before = peak_memory()
    seconds = []
    for _ in range(args.warm_up + args.calls):
        start = time.perf_counter()
        energy, force, virial = call()
        seconds.append(time.perf_counter() - start)
    np.savez(
        args.result, energy=energy, force=force, virial=virial, warm_up=seconds[: args.warm_up], calls=seconds[args.warm_up :],
        program=program[args.warm_up :], memory_before=before, memory_peak=peak_memory(),
    )  # fmt: skip


def dpjax(model: str, frame: dict, program: list[float]) -> Callable[[], Outputs]:
    """A call of ``Potential.evaluate``; adds to ``program`` how long the compiled program alone took."""
    from dpjax import load

    potential = load(model)
    run = potential._run

    def timed(*args, **kwargs):
        start = time.perf_counter()
        out = run(*args, **kwargs)
        program.append(time.perf_counter() - start)
        return out

    potential._run = timed  # one call for a single frame

    def call() -> Outputs:
        out = potential.evaluate(frame["coord"][None], frame["atype"], frame["cell"][None])
        return out["energy"], out["force"], out["virial"]

    return call


def artifact(model: str, frame: dict, program: list[float]) -> Callable[[], Outputs]:
    """A call of an artifact's own runtime."""
    from dpjax.export import Artifact

    potential = Artifact(model)

    def call() -> Outputs:
        out = potential.evaluate(frame["coord"][None], frame["atype"], frame["cell"][None])
        return out["energy"], out["force"], out["virial"]

    return call


def deepmd(model: str, frame: dict, program: list[float]) -> Callable[[], Outputs]:
    """A call of ``DeepPot.eval``."""
    from deepmd.infer import DeepPot

    potential = DeepPot(model)
    return lambda: potential.eval(frame["coord"][None], frame["cell"].reshape(1, 9), frame["atype"])[:3]


def peak_memory() -> int:
    """Largest memory of this process so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
