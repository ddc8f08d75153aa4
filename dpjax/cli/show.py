"""``dpjax show``: what a model is made of."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from dpjax.cli.models import add_head_option, branch_names, checkpoint, load_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("model", metavar="MODEL", help="model file or checkpoint folder")
    add_head_option(parser)
    parser.add_argument(
        "attributes",
        nargs="*",
        default=[],
        metavar="WHAT",
        type=_attribute,
        help=f"any of {', '.join(ATTRIBUTES)}; default: {', '.join(USUAL)}",
    )


def run(args: argparse.Namespace) -> None:
    """Prints the attributes, of a model with several branches and no chosen one those of each."""
    names = list(args.attributes or USUAL)
    heads = branch_names(args.model) if args.head is None else ()
    if heads and "model-branch" in names:
        names.remove("model-branch")
        _branches(args.model)
    for head in heads or (args.head,):
        if names:
            pot = load_model(args.model, head)
            if heads:
                print(f"branch {head}")
            for name in names:
                ATTRIBUTES[name](pot)


def _branches(model: str) -> None:
    """Names of the branches, and what else they may be called."""
    from dpjax.interfaces.files import branches

    path = checkpoint(model)
    names = branches(path, aliases=False)
    others = branches(path)[len(names) :]
    also = f" (also {' '.join(others)})" if others else ""
    print(f"model-branch: {' '.join(names)}{also}")


def _type_map(pot: Any) -> None:
    print(f"type-map: {' '.join(pot.type_map)}")


def _descriptor(pot: Any) -> None:
    for place, part in _networks(pot.config):
        print(f"descriptor{place}: {json.dumps(part.raw['descriptor'])}")


def _fitting_net(pot: Any) -> None:
    for place, part in _networks(pot.config):
        print(f"fitting-net{place}: {json.dumps(part.raw['fitting_net'])}")


def _networks(config: Any) -> list[tuple[str, Any]]:
    """The model, or those of its parts that have networks, with what tells them apart."""
    if "descriptor" in config.raw:
        return [("", config)]
    parts = zip(getattr(config, "places", ()), getattr(config, "named", ()), strict=True)
    return [(f" of {place}", part) for place, (_, part) in parts if "descriptor" in part.raw]


def _size(pot: Any) -> None:
    """Numbers that training changes, per part of the model."""
    from dpjax.interfaces.facts import parameter_counts

    parts = parameter_counts(pot)
    print(f"size: {sum(parts.values())} parameters ({', '.join(f'{name} {n}' for name, n in parts.items())})")


def _observed_type(pot: Any) -> None:
    """Types that the energy bias was fitted for."""
    from dpjax.interfaces.facts import observed_types

    seen = observed_types(pot)
    print(f"observed-type: {' '.join(seen) or 'none'} ({len(seen)} of {len(pot.type_map)} types, by their energy bias)")


def _model_branch(pot: Any) -> None:
    from dpjax.errors import ModelError

    raise ModelError("model-branch: this is a single model without branches")


def _serialization_tree(pot: Any) -> None:
    """The parts of the stored model, each with the numbers it holds."""
    from dpjax.interop import write_model

    print("serialization-tree:")
    for line in _tree_lines("model", write_model(pot.config, pot.variables)["model"], "  "):
        print(line)


def _tree_lines(name: str, node: Any, indent: str) -> Iterator[str]:
    """A line for a part and for each below it that has parts or arrays of its own."""
    entries = enumerate(node) if isinstance(node, list) else node.items()
    parts = [(str(key), item) for key, item in entries if isinstance(item, dict | list) and _count_stored(item)]
    kind = node.get("@class", "") if isinstance(node, dict) else ""
    yield f"{indent}{name}{f' [{kind}]' if kind else ''}: {_count_stored(node)} numbers"
    for key, item in parts:
        if key != "@variables":
            yield from _tree_lines(key, item, indent + "  ")


def _count_stored(node: Any) -> int:
    if isinstance(node, list):
        return sum(_count_stored(item) for item in node)
    if isinstance(node, dict):
        return sum(_count_stored(item) for item in node.values())
    return int(node.size) if hasattr(node, "dtype") else 0


def _attribute(text: str) -> str:
    if text not in ATTRIBUTES:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected one of {', '.join(ATTRIBUTES)}")
    return text


ATTRIBUTES = {
    "type-map": _type_map,
    "descriptor": _descriptor,
    "fitting-net": _fitting_net,
    "size": _size,
    "observed-type": _observed_type,
    "model-branch": _model_branch,
    "serialization-tree": _serialization_tree,
}
USUAL = ("type-map", "descriptor", "fitting-net", "size")
