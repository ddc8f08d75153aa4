"""Every option says what it means in this version, and what is not built is refused, never ignored."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from dpjax import config
from dpjax.config import meaning
from dpjax.config.descriptors import DESCRIPTORS, kinds
from dpjax.config.fittings import FITTINGS
from dpjax.config.learning_rate import LEARNING_RATES
from dpjax.config.losses import LOSSES
from dpjax.config.models import MODELS
from dpjax.config.optimizers import OPTIMIZERS
from dpjax.errors import ConfigError
from tests.config import sections
from tests.config.inputs import water
from tests.config.test_arguments import LIST, OPTIONS
from tests.shared import REPOSITORY

TABLE = config.options_table()
LISTED = [row for row in TABLE if not row.newer and not row.path.startswith("dpjax/")]
KINDS = {
    "model/descriptor": (DESCRIPTORS, sections.DESCRIPTORS),
    "model/fitting_net": (FITTINGS, sections.FITTINGS),
    "learning_rate": (LEARNING_RATES, sections.LEARNING_RATES),
    "loss": (LOSSES, sections.LOSSES),
    "optimizer": (OPTIMIZERS, sections.OPTIMIZERS),
    "model": (MODELS, sections.MODELS),
}


def test_every_leaf_of_the_list_has_a_meaning():
    paths = {row.path for row in LISTED}
    listed = [r["path"] for r in LIST]
    sections = {p.rpartition("/")[0] for p in listed}
    sections |= {re.sub(r"\[\w+\]$", "", p) for p in sections}
    leaves = {p for p in listed if p not in sections}
    assert leaves <= paths
    assert paths <= set(listed)
    assert len(paths) == len(LISTED)


def test_nothing_of_the_list_is_pending_and_what_came_later_is_built_or_refused():
    words = {meaning.EFFECTIVE, meaning.NOT_APPLICABLE}
    assert {row.status for row in LISTED} == words
    assert {row.status for row in TABLE if row.newer} == words | {meaning.REFUSED}
    for row in TABLE:
        assert (row.status == meaning.EFFECTIVE) == (not row.reason), row


def test_the_readme_counts_what_is_pending():
    text = " ".join((REPOSITORY / "README.md").read_text().split())
    sentence = (
        r"([\d,]+) paths: (\d+) sections and (\d+) options\. (\d+) of the options take effect, "
        r"(\d+) cannot apply here[^.]*, (\d+) are pending"
    )
    stated = re.search(sentence, text)
    assert stated, "the README says how many options take effect, cannot apply and are pending"
    count = Counter(row.status for row in LISTED)
    statuses = [count[word] for word in (meaning.EFFECTIVE, meaning.NOT_APPLICABLE, meaning.PENDING)]
    want = [len(LIST), len(LIST) - len(LISTED), len(LISTED), *statuses]
    assert [int(number.replace(",", "")) for number in stated.groups()] == want


@pytest.mark.parametrize("path", KINDS)
def test_every_component_has_an_input(path):
    registry, table = KINDS[path]
    assert {c.name for c in registry.components} == set(table)


def selected() -> list:
    return [(path, c) for path, (registry, _) in KINDS.items() for c in registry.components]


@pytest.mark.parametrize(("path", "component"), selected(), ids=lambda x: getattr(x, "name", x))
def test_what_is_not_built_is_refused_by_name(path, component):
    data = sections.inputs()[f"{path}[{component.name}]"]
    config.normalize(data)
    found = {p.path for p in config.not_built(data)}
    if component.built:
        assert f"{path}/type" not in found
        return
    assert f"{path}/type" in found
    with pytest.raises(ConfigError, match=rf"{path}/type: .*{component.name!r} is not built yet"):
        config.load(data)


def refused_options() -> list:
    return [row for row in TABLE if row.status in meaning.NOT_BUILT and "[" not in row.path]


@pytest.mark.parametrize("row", refused_options(), ids=lambda row: row.path)
def test_options_of_what_is_not_built_are_refused_or_wait_for_one_that_is(row):
    option = OPTIONS[row.path]
    if option.used_with:
        assert any(r.status in meaning.NOT_BUILT and r.path.endswith(f"/{option.used_with}") for r in TABLE)
        return
    value = {bool: not option.neutral, int: 2, float: 2.5, str: "other", list: [1], dict: {"compute_prec": "float16"}}
    edits = {row.path: value[option.dtype[0]]}
    if "mixed_precision" in row.path:
        edits = {"training/mixed_precision": {"compute_prec": "float16"}}
    if row.path.startswith("model/spin/"):
        edits = {row.path: "native", "model/spin/use_spin": [True, False], "model/spin/virtual_scale": [0.3, 0.0]}
    with pytest.raises(ConfigError, match="is not built yet in this version"):
        config.load(water(edits))


@pytest.mark.parametrize("path", ["training/enable_compile", "validating/compiled_infer"])
def test_options_without_effect_say_what_is_done_instead(path, caplog):
    caplog.set_level("INFO", logger="dpjax")
    config.load(water({path: True}))
    assert f"{path}: true changes nothing: " in caplog.text and "XLA" in caplog.text


def test_what_is_not_built_together_is_refused():
    """Messages go between all atoms, networks per type want those of one type: this version has each by itself."""
    dpa3, by_type, by_vector = (
        {"type": name} | sections.DESCRIPTORS[kind]
        for name, kind in (("dpa3", "dpa3"), ("se_a", "se_e2_a"), ("dpa1", "se_atten"))
    )

    def hybrid(*parts: dict) -> dict:
        return water({"model/descriptor": {"type": "hybrid", "list": list(parts)}})

    config.normalize(hybrid(dpa3, by_type))  # a valid input
    [problem] = config.not_built(hybrid(by_vector, by_type, dpa3))
    assert problem.path == "model/descriptor/list"
    with pytest.raises(
        ConfigError, match="list: found dpa3, .* beside se_e2_a, .* not built .* Take se_atten or se_e3_tebd"
    ):
        config.load(hybrid(dpa3, by_type))
    assert not config.not_built(hybrid(dpa3, by_vector)) and not config.not_built(hybrid(by_vector, by_type))


def test_kinds_name_descriptors_that_are_built():
    names = {name for kind in vars(kinds).values() if isinstance(kind, tuple) for name in kind}
    assert len(names) > 6
    assert all(DESCRIPTORS[name].built for name in names)


def test_what_stands_inside_a_nested_section_is_refused_with_its_path():
    data = water({"model/descriptor": sections.DESCRIPTORS["hybrid"] | {"type": "hybrid"}})
    paths = [p.path for p in config.not_built(data)]
    assert paths == ["model/descriptor/type"] or all(p.startswith("model/descriptor/list") for p in paths)
