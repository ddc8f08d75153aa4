"""The options are those of the reference list: same paths, defaults and aliases, each with a description."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields

import pytest
from dargs import Argument

from dpjax import config
from dpjax.config.learning_rate import LEARNING_RATES
from dpjax.config.losses import LOSSES
from dpjax.config.descriptors import DESCRIPTORS
from dpjax.config.fittings import FITTINGS
from dpjax.config.optimizers import OPTIMIZERS
from dpjax.config.schema import Option
from tests.shared import golden, shared

OURS = ("dpjax",)  # not in the reference
# sections whose inside is not declared, because the section itself is refused in this version
CLOSED = ("model/type_embedding", "model/modifier", "model/spin", "training/mixed_precision", "nvnmd")


def rows(argument: Argument, section: str = "") -> Iterator[tuple[str, Argument]]:
    """(path, argument) of everything below ``argument``, types written as in ``learning_rate[exp]/smooth``."""
    for name, option in argument.sub_fields.items():
        path = f"{section}/{name}" if section else name
        yield path, option
        yield from rows(option, path)
    for variant in argument.sub_variants.values():
        yield (
            f"{section}/{variant.flag_name}",
            Option("type", str, variant.doc, variant.default_tag)
            if variant.optional
            else Option("type", str, variant.doc),
        )
        for name, choice in variant.choice_dict.items():
            yield from rows(choice, f"{section}[{name}]")


def ours() -> dict[str, Argument]:
    return dict(rows(Argument("input", dict, config.arguments())))


def assert_same(path: str, mine: Argument, theirs: dict) -> None:
    probe: dict = {}
    mine._assign_default(probe, [])
    mine._handle_empty_dict(probe, [])
    if "default" in theirs:
        assert str(probe[mine.name]) == theirs["default"], path
    else:
        assert not probe, path
    assert set(mine.alias) == set(theirs.get("aliases", ())), path
    if mine.name != "type":
        assert mine.optional == theirs["optional"], path


def test_every_option_of_the_family_is_there_with_its_default_and_aliases():
    mine = ours()
    reference = json.loads(golden("config", "train_input_args.json").read_text())
    assert len(reference) > 130
    for theirs in reference:
        assert theirs["path"] in mine
        assert_same(theirs["path"], mine[theirs["path"]], theirs)


def test_no_option_is_invented():
    reference = {r["path"] for r in json.loads(golden("config", "train_input_args.json").read_text())}
    extra = [p for p in ours() if p not in reference and p.split("/")[0] not in OURS]
    assert extra == []


def test_against_the_full_list():
    reference = {r["path"]: r for r in json.loads(shared("spec", "train_input_args.json").read_text())}
    mine = {p: a for p, a in ours().items() if p.split("/")[0] not in OURS}
    for path, option in mine.items():
        assert_same(path, option, reference[path])
    types = ("[standard]", "[se_e2_a]", "[ener]", "[exp]", "[cosine]", "[wsd]", "[Adam]")
    for path in reference:
        rest = path
        for name in types:
            rest = rest.replace(name, "")
        if "[" not in rest and not path.startswith(tuple(f"{c}/" for c in CLOSED)):
            assert path in mine


@pytest.mark.parametrize("path", sorted(ours()))
def test_every_option_is_described(path):
    doc = ours()[path].doc
    assert len(doc) > 10 and doc.endswith((".", ")"))


@pytest.mark.parametrize("registry", [DESCRIPTORS, FITTINGS, LEARNING_RATES, OPTIMIZERS, LOSSES], ids=lambda r: r.kind)
def test_dataclass_defaults_are_the_option_defaults(registry):
    for component in registry.components:
        default = {f.name: f.default for f in fields(component.config)}
        for option in component.options():
            probe: dict = {}
            option._assign_default(probe, [])
            value = probe.get(option.name)
            assert default[option.name] == (tuple(value) if isinstance(value, list) else value), option.name


def test_document_names_every_option():
    text = config.document()
    for name in {path.split("/")[-1] for path in ours()}:
        assert f"{name}:" in text
