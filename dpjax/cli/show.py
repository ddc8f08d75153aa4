"""``dpjax show``: what a model is made of."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("model", metavar="MODEL", help="model file or checkpoint folder")
    parser.add_argument(
        "attributes",
        nargs="*",
        default=[],
        metavar="WHAT",
        type=_attribute,
        help=f"any of {', '.join(ATTRIBUTES)}; default: all",
    )


def run(args: argparse.Namespace) -> None:
    """Prints the attributes."""
    import dpjax

    pot = dpjax.load(args.model)
    for name in args.attributes or ATTRIBUTES:
        ATTRIBUTES[name](pot)


def _type_map(pot: Any) -> None:
    print(f"type-map: {' '.join(pot.type_map)}")


def _descriptor(pot: Any) -> None:
    print(f"descriptor: {json.dumps(pot.config.raw['descriptor'])}")


def _fitting_net(pot: Any) -> None:
    print(f"fitting-net: {json.dumps(pot.config.raw['fitting_net'])}")


def _size(pot: Any) -> None:
    """Numbers that training changes, per part of the model."""
    parts = {name: _count(tree) for name, tree in pot.variables["params"].items()}
    print(f"size: {sum(parts.values())} parameters ({', '.join(f'{name} {n}' for name, n in parts.items())})")


def _count(tree: Any) -> int:
    return sum(_count(branch) for branch in tree.values()) if hasattr(tree, "values") else int(tree.size)


def _attribute(text: str) -> str:
    if text not in ATTRIBUTES:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected one of {', '.join(ATTRIBUTES)}")
    return text


ATTRIBUTES = {"type-map": _type_map, "descriptor": _descriptor, "fitting-net": _fitting_net, "size": _size}
