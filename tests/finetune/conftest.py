"""Tests of fine-tuning train and evaluate many models of few shapes."""

from __future__ import annotations

import pytest

from dpjax.training.compile_cache import persistent_programs
from tests.training import tiny


@pytest.fixture(scope="module", autouse=True)
def equal_programs_are_compiled_once():
    with persistent_programs(tiny.programs_folder()):
        yield
