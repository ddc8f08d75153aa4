#!/usr/bin/env python3
"""Last lines of ``make demo``: the errors that were reached beside those that the input promises (key ``_expect``)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

UNITS = {"energy": "eV", "force": "eV/Å", "virial": "eV"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True, help="input file with the key _expect")
    parser.add_argument("--run", type=Path, required=True, help="folder of the training, with test.json")
    args = parser.parse_args()
    promised = json.loads(args.config.read_text())["_expect"]
    reached = json.loads((args.run / "test.json").read_text())["weighted"]
    print()
    for name in (name for name in promised if name in reached):
        kind, _, quantity = name.partition("_")
        unit = UNITS.get(quantity, "in the unit of the labels")
        reach = f"{quantity.capitalize()} {kind.upper()} on held-back frames: {reached[name]:.3f} {unit}"
        print(f"{reach}, expected about {promised[name]:.3f}")
    print(f"Pictures: {args.run}/lcurve.png, {args.run}/test.parity.png, {args.run}/test.errors.png")


if __name__ == "__main__":
    main()
