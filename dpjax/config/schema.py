"""Building blocks of the input language: options, tables of component types, and how a section becomes a dataclass.

An :class:`Option` is a dargs ``Argument`` that also says what it means here: it has an effect, it waits for a part that is
not built yet, or it cannot apply and why.  A :class:`Component` ties one type name (``se_e2_a``) to its options, its
frozen dataclass and its cross-checks; a :class:`Registry` is the explicit table of the components of one kind.  Adding a
component is one file and one line in such a table.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from dargs import Argument, Variant

from dpjax.config.problems import Problem, Report

REQUIRED = object()  # marks an option that must be given
UNSET = object()  # marks an option that may be absent and then has no value


class Option(Argument):
    """A dargs argument and its meaning in dpjax.

    Args:
        name: the key.
        dtype: a type, a generic such as ``list[int]``, or a list of them.
        doc: what the option does, in a sentence or two.
        default: the value filled in; ``UNSET`` leaves the key absent, ``REQUIRED`` makes it an error to omit it.
        not_built: what a value other than the neutral one would need; such a value is refused when the input is used.
        no_effect: why no value changes anything here and what is done instead; every value is accepted.
        refused: why a value other than the neutral one can never apply; such a value is refused when the input is used.
        neutral: the value that asks for nothing; the default where it is not given.
        used_with: the option without which this one says nothing; its value is then not refused by itself.
        newer: whether DeePMD-kit 3.2 has the option and the list of options that dpjax follows has not.
        also: types that are accepted beside ``dtype`` and left out of its declaration.
        **rest: anything else ``dargs.Argument`` takes (``alias``, ``sub_fields``, ``sub_variants``, ``repeat``,
            ``fold_subdoc``).
    """

    def __init__(
        self,
        name: str,
        dtype: Any,
        doc: str,
        default: Any = UNSET,
        *,
        not_built: str = "",
        no_effect: str = "",
        refused: str = "",
        neutral: Any = UNSET,
        used_with: str = "",
        newer: bool = False,
        also: Iterable[Any] = (),
        **rest: Any,
    ) -> None:
        if default is not REQUIRED and default is not UNSET:
            rest["default"] = default
        super().__init__(name, dtype, optional=default is not REQUIRED, doc=doc, **rest)
        self.has_default = default is not REQUIRED and default is not UNSET
        self.not_built, self.no_effect, self.refused, self.newer = not_built, no_effect, refused, newer
        self.used_with = used_with
        self.neutral = neutral if neutral is not UNSET else default if self.has_default else None
        self.accepted = (*self.dtype, *also)


@dataclass(frozen=True)
class Component:
    """One value of a ``type`` key.

    Attributes:
        name: the canonical type name.
        config: the frozen dataclass its section becomes.
        options: makes the list of its options.
        check: ``check(config, path, context)`` yields the mistakes that a single option does not show.
        alias: other spellings of the name.
        doc: one sentence.
        built: whether this version can do what the component asks for; otherwise using it is refused.
        newer: whether DeePMD-kit 3.2 has the component and the list of options that dpjax follows has not.
        sections: ``sections(section, path, context)`` gives the dataclasses of sub-sections by field name; a value of None
            says that the sub-section is wrong and was reported.
        idle: ``idle(config)`` yields the options that were set and change nothing beside the others, with the reason.
        lacks: ``lacks(section, path)`` yields what a valid section asks for by its options together and this version cannot do.
    """

    name: str
    config: type
    options: Callable[[], list[Option]]
    check: Callable[[Any, str, Context], Iterator[Problem]]
    alias: tuple[str, ...] = ()
    doc: str = ""
    built: bool = True
    newer: bool = False
    sections: Callable[[dict, str, Context], dict[str, Any]] = lambda section, path, context: {}
    idle: Callable[[Any], Iterable[tuple[str, str]]] = lambda config: ()
    lacks: Callable[[dict, str], Iterable[Problem]] = lambda section, path: ()

    @functools.cache  # noqa: B019  the tables of components live as long as the program
    def argument(self) -> Argument:
        """The dargs choice of this component; one object, which stands wherever the component may."""
        return Argument(self.name, dict, self.options(), alias=list(self.alias), doc=self.doc)

    def parse(self, section: dict, path: str, context: Context) -> Any:
        """The dataclass of a normalised section; None where something in the section is wrong, which is then reported."""
        parts = self.sections(section, path, context)
        if any(part is None for part in parts.values()):
            return None
        return parsed(self.config, self.check, section, path, context, parts)


@dataclass(frozen=True)
class Registry:
    """The components of one kind, by type name.

    Attributes:
        kind: the word used in messages, e.g. ``descriptor``.
        components: all that the language has, built or not.
        default: the type of a section without ``type``; empty when it must be given.
        doc: what the ``type`` key selects.
    """

    kind: str
    components: tuple[Component, ...]
    default: str = ""
    doc: str = ""

    def __getitem__(self, name: str) -> Component:
        return {c.name: c for c in self.components}[name]

    def name_of(self, config: Any) -> str:
        """The type name of a section that became the dataclass ``config``."""
        return next(c.name for c in self.components if c.config is type(config))

    def canonical(self, name: str | None) -> str | None:
        """The name of the component that is spelt ``name``; the name as it is where there is none."""
        return next((c.name for c in self.components if name in c.alias), name)

    @property
    def built(self) -> list[str]:
        """Names of the components this version has."""
        return [c.name for c in self.components if c.built]

    def without(self, *names: str) -> Registry:
        """The same table without some components, for places where they cannot stand."""
        return Registry(self.kind, tuple(c for c in self.components if c.name not in names), self.default, self.doc)

    def variant(self) -> Types:
        """The dargs variant over ``type``."""
        return Types(self)

    def parse(self, section: dict, path: str, context: Context) -> Any:
        """The dataclass of a normalised section, by its ``type``; None where something in it is wrong."""
        if section is None or "type" not in section:  # the walk found it wrong, and said so
            return None
        return self[section["type"]].parse(section, path, context)


class Types(Variant):
    """The dargs variant of a registry, which the walk asks about what is built."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(
            "type",
            [component.argument() for component in registry.components],
            optional=bool(registry.default),
            default_tag=registry.default,
            doc=registry.doc,
        )
        self.registry = registry


@dataclass(frozen=True)
class Context:
    """What a cross-check may need to know from outside its own section.

    Attributes:
        type_map: names of the atom types; empty where they are not known.
        report: where mistakes are noted.
    """

    type_map: tuple[str, ...] = ()
    report: Report = field(default_factory=Report)


def parsed(
    cls: type,
    check: Callable[[Any, str, Context], Iterable[Problem]],
    section: dict,
    path: str,
    context: Context,
    parts: dict[str, Any] | None = None,
) -> Any:
    """The dataclass ``cls`` of a normalised section whose mistakes ``check`` yields; None where its keys are wrong already.

    ``parts`` are dataclasses that stand in for sub-sections.
    """
    if context.report.touches(path):
        return None
    config = to_dataclass(cls, section, parts)
    context.report.extend(check(config, path, context))
    return config


def freeze(value: Any) -> Any:
    """Lists as tuples, all the way down; dicts keep their keys."""
    if isinstance(value, list | tuple):
        return tuple(freeze(v) for v in value)
    if isinstance(value, dict):
        return {k: freeze(v) for k, v in value.items()}
    return value


def to_dataclass(cls: type, section: dict, parts: dict[str, Any] | None = None) -> Any:
    """An instance of ``cls`` from the keys of ``section`` that it has as fields.

    Args:
        cls: the dataclass; a field ``raw`` gets the section itself.
        section: values by key.
        parts: dataclasses that stand in for sub-sections.
    """
    names = {f.name for f in fields(cls)}
    given = {k: freeze(v) for k, v in section.items() if k in names}
    return cls(**given | (parts or {}) | ({"raw": section} if "raw" in names else {}))
