"""Whatever an input holds, the answer is a normalised input or a ConfigError that names a path: never another exception."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpjax import config
from dpjax.errors import ConfigError
from tests.config import sections

BASES = sections.inputs()
ODD = (
    None, True, False, 0, 1, -1, 3, 10**40, 0.5, -2.5, 1e308, float("nan"), float("inf"), "", "auto", "auto:1.2", "x",
    "auto:", "None", [], [[]], [0], [-1], [1.5], ["O"], [None], [[0, 1]], [{}], {}, {"type": "x"}, {"_": 1}, [True], [4, 8, 16],
)  # fmt: skip
RENAMED = ("{}x", "_{}", "{}s", "start_{}", "type", "comment", "systems", "")


def places(data: Any, path: tuple = ()) -> Iterator[tuple]:
    """Paths of everything inside."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def at(data: Any, path: tuple) -> Any:
    for key in path:
        data = data[key]
    return data


@st.composite
def mutated(draw) -> dict[str, Any]:
    """A valid input after one to four mutations: an entry removed, renamed, replaced, scaled or added."""
    data = copy.deepcopy(BASES[draw(st.sampled_from(sorted(BASES)))])
    for _ in range(draw(st.integers(1, 4))):
        known = list(places(data))
        if not known:
            break
        *parents, key = draw(st.sampled_from(known))
        holder = at(data, tuple(parents))
        what = draw(st.sampled_from(("delete", "rename", "replace", "scale", "add")))
        if what == "delete":
            del holder[key]
        elif what == "replace":
            holder[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
        elif what == "scale" and isinstance(holder[key], int | float):
            holder[key] = holder[key] * draw(st.sampled_from((-1, 0, 0.1, 1000, 10**30)))
        elif isinstance(holder, dict):
            name = draw(st.sampled_from(RENAMED)).format(key)
            value = holder.pop(key) if what == "rename" else copy.deepcopy(draw(st.sampled_from(ODD)))
            holder[name] = value
    return data


def check(call, data: dict[str, Any]) -> Any:
    """The result, or None after a ConfigError of which every problem has a path and a text."""
    before = copy.deepcopy(data)
    try:
        result = call(data)
    except ConfigError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.text
            assert str(error).count(problem.path)
        result = None
    assert repr(data) == repr(before), "the input was changed"
    return result


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(mutated())
def test_any_input_is_normalised_or_refused(data):
    raw = check(config.normalize, data)
    if raw is not None:
        text = json.dumps(raw)
        assert config.normalize(json.loads(text)) == json.loads(text)
    check(config.load, data)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutated())
def test_any_input_is_normalised_or_refused_at_length(data):
    check(config.normalize, data)


@pytest.mark.parametrize("name", sorted(BASES))
def test_the_inputs_that_are_mutated_are_valid(name):
    raw = config.normalize(BASES[name])
    assert config.normalize(raw) == raw
