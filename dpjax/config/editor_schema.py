"""The input language as a JSON Schema, for editors (IntelliSense in VS Code) and other validators.

Draft 7, which every editor knows.  Unlike dargs' own generator this one says that unknown keys are mistakes and what the items
of lists are; equal sections are written once, under ``definitions``.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterable
from typing import Any, Union, get_args, get_origin

from dargs import Argument

from dpjax.config.multi_task import SHAREABLE
from dpjax.config.schema import Types

_REMARKS = {"^_": {}, "^comments?$": {}, r"^\$schema$": {}}  # keys that are remarks anywhere
_PLAIN = {int: "integer", float: "number", bool: "boolean", str: "string", list: "array", dict: "object", None: "null"}

_NAME = {"type": "string", "description": "Name of an entry of shared_dict."}

Schema = dict[str, Any]


def json_schema(arguments: Iterable[Argument], title: str, *, shared: bool = False) -> Schema:
    """The JSON Schema of an input with the sections ``arguments``.

    Args:
        arguments: the top-level arguments.
        title: what the schema describes.
        shared: whether ``type_map``, ``descriptor`` and ``fitting_net`` may be names of shared sections, as they may in an input
            for several tasks.
    """
    writer = _Writer(SHAREABLE if shared else ())
    root = writer.section(Argument("input", dict, list(arguments)), [])
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": title}
    return {**head, **root, "definitions": writer.definitions}


class _Writer:
    """Turns options into schemas and collects the sections as definitions."""

    def __init__(self, names_allowed: Iterable[str]) -> None:
        self.names_allowed = tuple(names_allowed)
        self.definitions: Schema = {}
        self._known: dict[str, str] = {}  # text of a section -> its name

    def option(self, option: Argument) -> Schema:
        """The schema of one key."""
        kinds = [self._kind(option, annotation) for annotation in getattr(option, "accepted", option.dtype)]
        if option.name in self.names_allowed:
            kinds.append(_NAME)
        schema: Schema = {"description": option.doc, **(kinds[0] if len(kinds) == 1 else {"anyOf": kinds})}
        if "$ref" in schema:  # draft 7 ignores what stands beside a reference
            schema = {"description": option.doc, "allOf": [kinds[0]]}
        if getattr(option, "has_default", False):
            schema["default"] = option.default
        return schema

    def _kind(self, option: Argument, annotation: Any) -> Schema:
        if not (option.sub_fields or option.sub_variants) or annotation not in (dict, list):
            return of_type(annotation)
        section = self._reference(option.name, self.section(option, []))
        if not option.repeat:
            return section
        if option.name == "list" and self.names_allowed:  # the parts of a hybrid descriptor may be shared, too
            section = {"anyOf": [section, _NAME]}
        return {"type": "array", "items": section} if annotation is list else _named(section)

    def section(self, section: Argument, common: list[Argument]) -> Schema:
        """The schema of a dict with the fields of ``section`` and ``common``."""
        fields = [*common, *section.sub_fields.values()]
        if not section.sub_variants:
            return self._closed(fields, {})
        (variant,) = section.sub_variants.values()
        return self._choices(variant, fields)

    def _choices(self, variant: Types, fields: list[Argument]) -> Schema:
        flag, cases = variant.flag_name, []
        for name, choice in variant.choice_dict.items():
            words = [name, *choice.alias]
            tag = {"enum": words, "description": choice.doc or variant.doc}
            closed = self._closed([*fields, *choice.sub_fields.values()], {flag: tag})
            absent = {} if variant.default_tag == name else {"required": [flag]}
            case = {"if": {"properties": {flag: {"enum": words}}, **absent}, "then": self._reference(name, closed)}
            cases.append(case)
        words = [*variant.choice_dict, *variant.choice_alias]
        tag = {"enum": words, "description": variant.doc}
        required = {"required": [flag]} if not variant.optional else {}
        default = {"default": variant.default_tag} if variant.default_tag else {}
        return {"type": "object", "properties": {flag: tag | default}, **required, "allOf": cases}

    def _closed(self, fields: list[Argument], flags: Schema) -> Schema:
        """A dict with these keys and no others, remarks apart."""
        properties, rules = dict(flags), []
        for option in fields:
            names = [option.name, *option.alias]
            schema = self.option(option)
            properties[option.name] = schema
            properties |= {a: {**schema, "description": f"Another name of `{option.name}`."} for a in option.alias}
            one = [{"required": [name]} for name in names]
            if option.alias:
                rules.append({"oneOf": [*one, {"not": {"anyOf": one}}] if option.optional else one})
        required = [option.name for option in fields if not option.optional and not option.alias]
        others = "model_dict" in properties  # what stands beside it holds for every branch
        schema = {
            "type": "object",
            "properties": properties,
            "additionalProperties": others,
            "patternProperties": _REMARKS,
        }
        return schema | ({"required": required} if required else {}) | ({"allOf": rules} if rules else {})

    def _reference(self, name: str, section: Schema) -> Schema:
        text = json.dumps(section, sort_keys=True)
        if text not in self._known:
            number = sum(n == name or n.startswith(f"{name}.") for n in self.definitions)
            self._known[text] = f"{name}.{number + 1}" if number else name
            self.definitions[self._known[text]] = section
        return {"$ref": f"#/definitions/{self._known[text]}"}


def _named(section: Schema) -> Schema:
    return {"type": "object", "additionalProperties": section, "patternProperties": _REMARKS}


def of_type(annotation: Any) -> Schema:
    """The schema of a Python type: ``list[int | None]`` and the like."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return {"anyOf": [of_type(a) for a in args]}
    if origin is list:
        return {"type": "array", "items": of_type(args[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": of_type(args[1])}
    return {"type": _PLAIN[None if annotation is type(None) else annotation]}
