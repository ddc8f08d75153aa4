"""Every contract test runs on every case."""

from __future__ import annotations

import pytest

from tests.contracts.bench import Bench
from tests.contracts.cases import CASES


@pytest.fixture(scope="session", params=CASES, ids=lambda case: case.name)
def bench(request) -> Bench:
    return Bench(request.param)


@pytest.fixture(params=["crystal", "cluster"])
def kind(request) -> str:
    return request.param
