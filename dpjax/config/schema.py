"""Building blocks of the input language: options, tables of component types, and how a section becomes a dataclass.

An :class:`Option` is a dargs ``Argument`` that may also say "known to DeePMD-kit, not built here yet".  A
:class:`Component` ties one type name (``se_e2_a``) to its options, its frozen dataclass and its cross-checks; a
:class:`Registry` is the explicit table of the components of one kind.  Adding a component is one file and one line in
such a table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from dargs import Argument, Variant

REQUIRED = object()  # marks an option that must be given
UNSET = object()  # marks an option that may be absent and then has no value


class Option(Argument):
    """A dargs argument plus two facts the walker needs.

    Args:
        name: the key.
        dtype: a type, a generic such as ``list[int]``, or a list of them.
        doc: what the option does, in a sentence or two.
        default: the value filled in; ``UNSET`` leaves the key absent, ``REQUIRED`` makes it an error to omit it.
        not_built: what a value other than the default would need; such a value is refused.
        planned: keys of this section that DeePMD-kit knows and this version refuses, with what they ask for.
        **rest: anything else ``dargs.Argument`` takes (``alias``, ``sub_fields``, ``sub_variants``).
    """

    def __init__(
        self,
        name: str,
        dtype: Any,
        doc: str,
        default: Any = UNSET,
        *,
        not_built: str = "",
        planned: dict[str, str] | None = None,
        **rest: Any,
    ) -> None:
        if not_built:
            doc = f"{doc} Not built in this version: {not_built}."
        if default is not REQUIRED and default is not UNSET:
            rest["default"] = default
        super().__init__(name, dtype, optional=default is not REQUIRED, doc=doc, **rest)
        self.not_built = not_built
        self.planned = planned or {}

    @property
    def neutral(self) -> Any:
        """The value that asks for nothing: the default, or None where there is none."""
        return self.default if self.has_default else None

    @property
    def has_default(self) -> bool:
        """Whether an absent key is filled in."""
        probe: dict[str, Any] = {}
        self._assign_default(probe, [])
        return self.name in probe


@dataclass(frozen=True)
class Component:
    """One value of a ``type`` key.

    Attributes:
        name: the canonical type name.
        config: the frozen dataclass its section becomes.
        options: makes the list of its options.
        check: ``check(config, path, context)`` raises ConfigError where options contradict each other.
        alias: other spellings of the name.
        doc: one sentence.
    """

    name: str
    config: type
    options: Callable[[], list[Option]]
    check: Callable[[Any, str, Context], None]
    alias: tuple[str, ...] = ()
    doc: str = ""

    def argument(self) -> Argument:
        """The dargs choice of this component."""
        return Argument(self.name, dict, self.options(), alias=list(self.alias), doc=self.doc)

    def parse(self, section: dict, path: str, context: Context) -> Any:
        """The checked dataclass of a normalised section."""
        config = to_dataclass(self.config, section)
        self.check(config, path, context)
        return config


@dataclass(frozen=True)
class Registry:
    """The components of one kind, by type name.

    Attributes:
        kind: the word used in messages, e.g. ``descriptor``.
        components: those that are built.
        planned: type names that DeePMD-kit has and this version does not.
        default: the type of a section without ``type``; empty when it must be given.
        doc: what the ``type`` key selects.
    """

    kind: str
    components: tuple[Component, ...]
    planned: tuple[str, ...] = ()
    default: str = ""
    doc: str = ""

    def __getitem__(self, name: str) -> Component:
        return {c.name: c for c in self.components}[name]

    def variant(self) -> Types:
        """The dargs variant over ``type``."""
        return Types(self)

    def parse(self, section: dict, path: str, context: Context) -> Any:
        """The checked dataclass of a normalised section, by its ``type``."""
        return self[section["type"]].parse(section, path, context)


class Types(Variant):
    """The dargs variant of a registry; the walker asks the registry which unknown names are merely not built."""

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
        type_map: names of the atom types.
    """

    type_map: tuple[str, ...] = field(default=())


def freeze(value: Any) -> Any:
    """Lists as tuples, all the way down; dicts keep their keys."""
    if isinstance(value, list | tuple):
        return tuple(freeze(v) for v in value)
    if isinstance(value, dict):
        return {k: freeze(v) for k, v in value.items()}
    return value


def to_dataclass(cls: type, section: dict) -> Any:
    """An instance of ``cls`` from the keys of ``section`` that it has as fields."""
    names = {f.name for f in fields(cls)}
    return cls(**{k: freeze(v) for k, v in section.items() if k in names})
