"""Options of the ``hybrid`` descriptor: several descriptors side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dpjax.config.descriptors.kinds import BY_TYPE, MESSAGES, OPEN
from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Component, Context, Option, Registry
from dpjax.config.suggestions import join


@dataclass(frozen=True)
class HybridConfig:
    """Descriptors whose outputs are joined."""

    list: tuple[Any, ...]  # the dataclass of each descriptor


def descriptor_parts(descriptor: Any) -> list[tuple[str, Any]]:
    """The descriptors of a model, those of a hybrid or of several parts one by one, each with its path in the input."""
    if hasattr(descriptor, "paths"):
        return [(f"model/{path}", part) for path, part in zip(descriptor.paths, descriptor.list, strict=True)]
    if not isinstance(descriptor, HybridConfig):
        return [("model/descriptor", descriptor)]
    return [(f"model/descriptor/list/{i}", part) for i, part in enumerate(descriptor.list)]


def hybrid(components: tuple[Component, ...]) -> Component:
    """The ``hybrid`` descriptor, whose parts are of the types ``components``; it is not among them itself."""
    parts = Registry("descriptor", components, doc="Which descriptor this part is; every one but hybrid.")
    return Component(
        "hybrid",
        HybridConfig,
        lambda: _options(parts),
        _check,
        doc="Several descriptors, whose outputs are joined to one.",
        sections=lambda section, path, context: {"list": _parse(parts, section, path, context)},
        lacks=_lacks,
    )


def _options(parts: Registry) -> list[Option]:
    return [
        Option(
            "list",
            list,
            "The descriptors that are joined, each a section with a type and the options of that type. The descriptor of an "
            "atom is their outputs one after another.",
            REQUIRED,
            repeat=True,
            fold_subdoc=True,
            sub_variants=[parts.variant()],
        )
    ]


def _parse(parts: Registry, section: dict, path: str, context: Context) -> tuple[Any, ...] | None:
    here = join(path, "list")
    items = [parts.parse(item, join(here, i), context) for i, item in enumerate(section.get("list", ()))]
    return None if None in items else tuple(items)


def _check(cfg: HybridConfig, path: str, context: Context) -> Iterator[Problem]:
    if not cfg.list:
        yield Problem(join(path, "list"), "found an empty list; give at least one descriptor.")


def _lacks(section: dict, path: str) -> Iterator[Problem]:
    """Those that pass messages see all atoms at once; those with networks per type see the atoms of one type at a time.

    Those without a cut-off have lists that others cannot share.
    """
    types = [part["type"] for part in section["list"]]
    messages, by_type = ([name for name in types if name in kind] for kind in (MESSAGES, BY_TYPE))
    if messages and by_type:
        text = (
            f"found {messages[0]}, which passes messages between all atoms, beside {by_type[0]}, whose networks per type need "
            "atoms in sections by type; such a hybrid is not built yet in this version. Take se_atten or se_e3_tebd in the place "
            f"of {by_type[0]}."
        )
        yield Problem(join(path, "list"), text)
    for i, name in enumerate(types):
        if name in OPEN:
            text = (
                f"found {name!r}, which sees whole frames without cells, beside descriptors with a cut-off; such a hybrid is not "
                "built yet in this version. Make it the only descriptor."
            )
            yield Problem(join(path, f"list/{i}/type"), text)
