"""The options are those of the reference list: same paths, types, defaults and aliases, each with a description."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any

import pytest
from dargs import Argument

from dpjax import config
from dpjax.config.descriptors import DESCRIPTORS
from dpjax.config.fittings import FITTINGS
from dpjax.config.learning_rate import LEARNING_RATES
from dpjax.config.losses import LOSSES
from dpjax.config.models import MODELS
from dpjax.config.optimizers import OPTIMIZERS
from tests.shared import golden

OURS = "dpjax"  # the section that the reference lacks
REGISTRIES = (DESCRIPTORS, FITTINGS, LEARNING_RATES, LOSSES, MODELS, OPTIMIZERS)
LIST = json.loads(golden("config", "train_input_args.json").read_text())


def rows(argument: Argument, section: str = "") -> Iterator[tuple[str, Any]]:
    """(path, option) of everything below ``argument``, types written as in ``learning_rate[exp]/smooth``; for the key
    ``type`` the table of types."""
    for name, option in argument.sub_fields.items():
        path = f"{section}/{name}" if section else name
        yield path, option
        if not option.fold_subdoc:
            yield from rows(option, path)
    for variant in argument.sub_variants.values():
        yield f"{section}/{variant.flag_name}", variant
        for name, choice in variant.choice_dict.items():
            yield from rows(choice, f"{section}[{name}]")


def options(multi_task: bool = False) -> dict[str, Any]:
    return dict(rows(Argument("input", dict, config.arguments(multi_task))))


OPTIONS = options()


def type_names(option: Argument) -> set[str]:
    """Types as the list writes them, which takes unions inside lists apart."""
    names = [t.__name__ if isinstance(t, type) and not hasattr(t, "__args__") else str(t) for t in option.dtype]
    return {part for name in names for part in name.split(" | ")}


def value_of(theirs: dict) -> Any:
    """The default, which the list writes as text; a word stands for itself."""
    text = theirs["default"]
    if theirs["types"] == ["str"]:
        return text
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def test_the_list_is_whole():
    assert len(LIST) == 1003


@pytest.mark.parametrize("theirs", [r for r in LIST if not r["flag_key"]], ids=lambda r: r["path"])
def test_every_option_of_the_list(theirs):
    mine = OPTIONS[theirs["path"]]
    assert type_names(mine) == set(theirs["types"])
    assert mine.optional == theirs["optional"]
    assert set(mine.alias) == set(theirs.get("aliases", ()))
    assert mine.has_default == ("default" in theirs)
    if mine.has_default:
        assert mine.default == value_of(theirs)
        assert type(mine.default) is type(value_of(theirs))


@pytest.mark.parametrize("theirs", [r for r in LIST if r["flag_key"]], ids=lambda r: r["path"])
def test_every_type_key_of_the_list(theirs):
    mine = OPTIONS[theirs["path"]]
    assert theirs["types"] == ["str"]
    assert mine.optional == theirs["optional"]
    assert mine.default_tag == theirs.get("default", "")
    listed = [c.name for c in mine.registry.components if not c.newer]
    if "choices" in theirs:
        assert listed == theirs["choices"]
    else:  # the list names them in the paths of their options
        below = theirs["path"].removesuffix("/type")
        named = {r["path"][len(below) + 1 :].partition("]")[0] for r in LIST if r["path"].startswith(f"{below}[")}
        assert set(listed) == named


def test_what_the_list_lacks_is_marked():
    known = {r["path"] for r in LIST}
    newer = {row.path for row in config.options_table() if row.newer}
    extra = {p for p in OPTIONS if p not in known and not p.startswith(OURS)}
    leaves = {p for p in extra if not p.endswith("/type") and not OPTIONS[p].sub_fields}
    assert leaves <= newer
    assert not newer & known


@pytest.mark.parametrize("multi_task", [False, True])
def test_every_option_is_described(multi_task):
    for path, option in options(multi_task).items():
        assert len(option.doc) > 10 and option.doc.endswith((".", ")")), path


def test_no_description_is_a_sentence_of_the_reference():
    words = ("Supported Backend", "is recommended to be", "argument path", "Random seed for parameter initialization")
    for path, option in OPTIONS.items():
        assert not any(w in option.doc for w in words), path


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda r: r.kind)
def test_dataclass_defaults_are_the_option_defaults(registry):
    for component in registry.components:
        default = {
            f.name: f.default if f.default_factory is MISSING else f.default_factory() for f in fields(component.config)
        }
        for option in component.options():
            if option.newer and option.name not in default:
                continue
            value = option.default if option.has_default else None if option.optional else MISSING
            assert default[option.name] == (tuple(value) if isinstance(value, list) else value), option.name


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda r: r.kind)
def test_names_of_a_kind_are_told_apart(registry):
    names = [name for c in registry.components for name in (c.name, *c.alias)]
    assert len(names) == len(set(names))
    assert not registry.default or registry.default in names
