"""Every contract test runs on every case, but for those that say of which outputs they speak (``outputs.only``)."""

from __future__ import annotations

import pytest

from tests.contracts.bench import Bench
from tests.contracts.cases import CASES

CORE = ("se_e2_a", "se_atten", "se_e3_tebd")  # networks per type, type vectors with attention, pairs of neighbours
# Fixtures and tests that trace or compile the model once more, as clusters do; they cost most.
FIXTURES_WITH_PROGRAMS = {"second_derivatives", "placed"}
TESTS_WITH_PROGRAMS = {
    "test_float32_stays_close_and_says_so",
    "test_the_core_refuses_to_become_float32_silently",
    "test_the_functional_core_gives_the_same_values",
}


@pytest.fixture(
    scope="session",
    params=[pytest.param(case, id=case.name, marks=[pytest.mark.slow] * case.slow) for case in CASES],
)
def bench(request) -> Bench:
    return Bench(request.param)


@pytest.fixture(params=["crystal", "cluster"])
def kind(request) -> str:
    return request.param


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Leave out what says nothing about a case's output; the tests of a case share its program, so one worker gets them all."""
    items[:] = [item for item in items if _applies(item)]
    for item in items:
        case = getattr(item, "callspec", None) and item.callspec.params.get("bench")
        if case is not None and "contracts" in item.path.parts:
            item.add_marker(pytest.mark.xdist_group(f"contracts-{case.name}"))
            if case.name not in CORE and _compiles_again(item):
                item.add_marker(pytest.mark.slow)


def _compiles_again(item) -> bool:
    """Whether a test needs more than the program that the tests of a case share."""
    cluster = item.callspec.params.get("kind") == "cluster"
    fixtures = not FIXTURES_WITH_PROGRAMS.isdisjoint(item.fixturenames)
    return cluster or fixtures or item.originalname in TESTS_WITH_PROGRAMS


def _applies(item) -> bool:
    applies = getattr(getattr(item, "function", None), "applies", None)
    return applies is None or applies(item.callspec.params["bench"])
