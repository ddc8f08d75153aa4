"""Weight map of ``hybrid``: the trees of its members in a list, both ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dpjax.config import HybridConfig
from dpjax.interop.model_vectors import stored_type

Tree = dict[str, Any]


@dataclass(frozen=True)
class HybridMap:
    """The weight map of a list of descriptors; ``find`` gives that of one of them by its type."""

    find: Callable[[str | None], Any]

    def read_section(self, tree: Tree) -> Tree:
        """The input section that describes the stored descriptor."""
        return {"type": "hybrid", "list": [self.find(part.get("type")).read_section(part) for part in tree["list"]]}

    def read_variables(self, tree: Tree) -> tuple[Tree, Tree]:
        """Collections ``params`` and ``stats`` of the stored descriptor."""
        read = [self.find(part["type"]).read_variables(part) for part in tree["list"]]
        params, stats = zip(*read, strict=True)
        return _named(params), _named(stats)

    def write_tree(self, config: HybridConfig, type_map: tuple[str, ...], params: Tree, stats: Tree) -> Tree:
        """The ``Descriptor`` tree of our descriptor."""
        parts = [
            self.find(stored_type(member, params[name])).write_tree(member, type_map, params[name], stats[name])
            for name, member in _named(config.list).items()
        ]
        return {"@class": "Descriptor", "type": "hybrid", "@version": 1, "list": parts}


def _named(parts: tuple) -> Tree:
    return {f"members_{i}": part for i, part in enumerate(parts)}
