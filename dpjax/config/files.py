"""Reading input files: JSON, or YAML by the ending .yaml or .yml."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from dpjax.config.positions import Lines, json_lines, yaml_lines
from dpjax.errors import ConfigError

YAML_SUFFIXES = (".yaml", ".yml")


def read(path: Path) -> tuple[dict[str, Any], Lines]:
    """The content of an input file, and the lines on which its keys stand.

    Raises:
        ConfigError: the file is missing, unreadable, not valid (with line and column), gives a key twice, or holds no
            mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file. Give the path of a JSON or YAML input.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text: {error}.") from error
    data, lines = _yaml(text, path) if path.suffix.lower() in YAML_SUFFIXES else _json(text, path)
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}: holds a {type(data).__name__}, expected a mapping with the keys model, training and so on."
        )
    return data, lines


def _json(text: str, path: Path) -> tuple[Any, Lines]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        _refuse_twice([k for k, _ in pairs], path)
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique), json_lines(text)
    except json.JSONDecodeError as error:
        line = text.split("\n")[error.lineno - 1].strip()
        if not text[error.pos :].strip():
            line = "the file ends there, before its sections are closed" if text.strip() else "the file is empty"
        raise ConfigError(
            f"{path}, line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}: {line}"
        ) from error


def _refuse_twice(keys: list[str], path: Path) -> None:
    """The second of two equal keys would silently win."""
    for i, key in enumerate(keys):
        if key in keys[:i] and not str(key).startswith("_") and key != "comment":
            raise ConfigError(f"{path}: the key `{key}` is given twice in one section. Keep one.")


class _Loader(yaml.SafeLoader):
    """YAML as people write it: 1e-3 is a number (YAML 1.1 wants 1.0e-3), and a key may stand only once."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _yaml(text: str, path: Path) -> tuple[Any, Lines]:
    class Loader(_Loader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
            _refuse_twice([key.value for key, _ in node.value], path)
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader), yaml_lines(yaml.compose(text, Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: not valid YAML: {error.problem}.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}.") from error
