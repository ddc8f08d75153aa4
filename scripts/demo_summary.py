#!/usr/bin/env python3
"""Last line of ``make demo``: the force error that was reached beside the one the input promises (key ``_expect``)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True, help="input file with the key _expect")
    parser.add_argument("--run", type=Path, required=True, help="folder of the training, with test.json")
    args = parser.parse_args()
    expected = json.loads(args.config.read_text())["_expect"].get("rmse_force")
    reached = json.loads((args.run / "test.json").read_text())["weighted"]["rmse_force"]
    promise = "" if expected is None else f", expected about {expected:.3f} eV/Å"
    print(f"\nForce RMSE on held-back frames: {reached:.3f} eV/Å{promise}")
    print(f"Pictures: {args.run}/lcurve.png, {args.run}/test.parity.png, {args.run}/test.errors.png")


if __name__ == "__main__":
    main()
