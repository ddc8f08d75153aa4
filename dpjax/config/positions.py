"""On which line of an input file a key stands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import yaml

Lines = dict[str, int]  # path of a key, parts joined by "/", to its line; the file itself is ""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+|\n')


def line_of(lines: Lines, path: str) -> int | None:
    """The line of ``path``, or of the section that holds (or lacks) it; None if that is the whole file."""
    while path:
        if path in lines:
            return lines[path]
        path = path.rpartition("/")[0]
    return None


def json_lines(text: str) -> Lines:
    """Lines of the keys and list items of a JSON text, which must be valid."""
    return dict(_json_value(_tokens(text), ""))


def yaml_lines(root: yaml.Node | None) -> Lines:
    """Lines of the keys and list items of a composed YAML document."""
    return dict(_yaml_value(root, "")) if root is not None else {}


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    """Tokens of a JSON text with their lines; a token without a value of its own (comma, colon) is left out."""
    number = 1
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token == "\n":
            number += 1
        elif token not in ",:":
            yield token, number


def _json_value(tokens: Iterator[tuple[str, int]], path: str) -> Iterator[tuple[str, int]]:
    token, _ = next(tokens)
    if token == "{":
        yield from _json_object(tokens, path)
    elif token == "[":
        yield from _json_list(tokens, path)


def _json_object(tokens: Iterator[tuple[str, int]], path: str) -> Iterator[tuple[str, int]]:
    for token, number in tokens:
        if token == "}":
            return
        here = _join(path, json.loads(token))
        yield here, number
        yield from _json_value(tokens, here)


def _json_list(tokens: Iterator[tuple[str, int]], path: str) -> Iterator[tuple[str, int]]:
    for index, (token, number) in enumerate(tokens):
        if token == "]":
            return
        here = _join(path, index)
        yield here, number
        if token == "{":
            yield from _json_object(tokens, here)
        elif token == "[":
            yield from _json_list(tokens, here)


def _yaml_value(node: yaml.Node, path: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = _join(path, key.value)
            yield here, key.start_mark.line + 1
            yield from _yaml_value(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            here = _join(path, index)
            yield here, value.start_mark.line + 1
            yield from _yaml_value(value, here)


def _join(path: str, key: object) -> str:
    return f"{path}/{key}" if path else str(key)
