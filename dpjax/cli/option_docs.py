"""The options of an input as Markdown: a heading for each section and component type, an entry for each option.

Headings carry the paths of ``dpjax show-options``, as in ``model[standard]/descriptor[se_e2_a]``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from dargs import Argument, Variant

from dpjax.config.meaning import EFFECTIVE, NOT_BUILT, Meaning, table
from dpjax.config.suggestions import join

INTRODUCTION = (
    "An input is a JSON or YAML file with the sections below. `a[b]/c` is the option `c` of a section `a` whose `type` is `b`. "
    "An option without a remark takes effect, unless its section has one."
)

Rows = dict[str, Meaning]


def markdown(sections: Iterable[Argument], title: str) -> str:
    """The documentation of an input with these top-level sections."""
    sections = list(sections)
    rows = {row.path: row for row in table(sections)}
    blocks = [f"# {title}", INTRODUCTION]
    for section in sections:
        blocks += _section(section, section.name, rows, waits=False, level="##")
    return "\n\n".join(blocks) + "\n"


def _section(section: Argument, path: str, rows: Rows, waits: bool, level: str = "###") -> Iterator[str]:
    """The blocks of a section, then those of the sections inside it; ``waits``: one around it is not built yet."""
    reason = getattr(section, "not_built", "")
    remark = [f"*Not built yet: {reason}.*"] if reason and not waits else []
    yield f"{level} {path}"
    yield " ".join([_facts(section), *_text(section.doc), *_each(section), *remark])
    yield from _content(section, path, rows, waits or bool(reason))


def _choice(variant: Variant, choice: Argument, path: str, rows: Rows, waits: bool) -> Iterator[str]:
    """The blocks of one component type."""
    names = [alias for alias, name in variant.choice_alias.items() if name == choice.name]
    names = list(dict.fromkeys([*choice.alias, *names]))
    facts = [f"`{variant.flag_name}`: `{choice.name}`", *_aliases(names)]
    yield f"### {path}"
    built = variant.registry[choice.name].built
    remark = [] if built or waits else [f"*Not built yet: the {variant.registry.kind} `{choice.name}`.*"]
    yield " ".join([f"({'; '.join(facts)})", *_text(choice.doc), *remark])
    yield from _content(choice, path, rows, waits or not built)


def _content(section: Argument, path: str, rows: Rows, waits: bool) -> Iterator[str]:
    """The options as one list, then the sections and component types."""
    options, variants = list(section.sub_fields.values()), list(section.sub_variants.values())
    names = [*section.sub_fields, *section.sub_variants]
    remarks = {name: _remark(rows.get(join(path, name)), waits) for name in names}
    entries = [_entry(option, join(path, option.name), remarks[option.name]) for option in options]
    entries += [_type_entry(variant, remarks[variant.flag_name]) for variant in variants]
    if entries:
        yield "\n".join(entries)
    for option in options:
        if _has_heading(option):
            yield from _section(option, join(path, option.name), rows, waits)
    for variant in variants:
        for choice in variant.choice_dict.values():
            yield from _choice(variant, choice, f"{path}[{choice.name}]", rows, waits)


def _entry(option: Argument, path: str, remark: list[str]) -> str:
    if _has_heading(option):
        return f"- **`{option.name}`** {_facts(option)} A section: see `{path}`."
    return " ".join([f"- **`{option.name}`**", _facts(option), *_text(option.doc), *remark])


def _type_entry(variant: Variant, remark: list[str]) -> str:
    need = f"default: `{json.dumps(variant.default_tag)}`" if variant.optional else "required"
    names = ", ".join(f"`{name}`" for name in variant.choice_dict)
    text = [f"- **`{variant.flag_name}`** (`str`; {need})", *_text(variant.doc), f"One of {names}.", *remark]
    return " ".join(text)


def _has_heading(option: Argument) -> bool:
    """Folded sections repeat others, so they stay entries."""
    return bool(not option.fold_subdoc and (option.sub_fields or option.sub_variants))


def _facts(option: Argument) -> str:
    """Type, default and aliases in brackets."""
    types = " or ".join(f"`{_type_name(dtype)}`" for dtype in option.dtype)
    return f"({'; '.join([types, _need(option), *_aliases(option.alias)])})"


def _need(option: Argument) -> str:
    if not option.optional:
        return "required"
    return f"default: `{json.dumps(option.default)}`" if getattr(option, "has_default", False) else "optional"


def _aliases(names: Iterable[str]) -> list[str]:
    names = [f"`{name}`" for name in names]
    return [f"also {', '.join(names)}"] if names else []


def _type_name(dtype: Any) -> str:
    if dtype is type(None):
        return "null"
    return dtype.__name__ if type(dtype) is type else str(dtype).replace("typing.", "").replace("None", "null")


def _text(doc: str) -> list[str]:
    return [" ".join(doc.split())] if doc else []


def _each(section: Argument) -> list[str]:
    return ["Every entry, under a name of your own, has the options below."] if section.repeat else []


def _remark(row: Meaning | None, waits: bool) -> list[str]:
    """What an option means where it does not simply take effect, unless its section has said so."""
    if row is None or row.status == EFFECTIVE or (waits and row.status in NOT_BUILT):
        return []
    words = "Not built yet" if row.status in NOT_BUILT else "Not applicable"
    return [f"*{words}: {row.reason}.*"]
