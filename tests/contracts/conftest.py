"""Every contract test runs on every case, but for those that say of which outputs they speak (``outputs.only``)."""

from __future__ import annotations

import pytest

from tests.contracts.bench import Bench
from tests.contracts.cases import CASES


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


def _applies(item) -> bool:
    applies = getattr(getattr(item, "function", None), "applies", None)
    return applies is None or applies(item.callspec.params["bench"])
