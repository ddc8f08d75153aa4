"""Test-wide settings: two virtual CPU devices, float64, no silent rank promotion, plots without a window, tests of a file together.

They are made here, before the first import of jax, and nowhere in the package: importing dpjax changes no flag
(``test_layout.py`` checks it), so a user's program keeps its own settings.
"""

from __future__ import annotations

import gc
import os

DEVICES = "--xla_force_host_platform_device_count=2"
if DEVICES not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {DEVICES}".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # the loader of cached programs is noisy about nothing

import jax  # noqa: E402  the variables above must be set first
import pytest  # noqa: E402

gc.set_threshold(50_000, 20, 50)  # tracing leaves objects that live on: searching them takes a tenth of the time
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_addoption(parser):
    text = "note in FILE which components the tests are about and how they end (tests/features/recorder.py)"
    parser.addoption("--features", metavar="FILE", help=text)


def pytest_configure(config):
    if config.getoption("features"):
        from tests.features import recorder

        recorder.register(config)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist writes the groups into the names
def pytest_collection_modifyitems(items):
    """Tests of one file share trainings and compiled programs: with several workers (``--dist loadgroup``) one gets them all."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


@pytest.hookimpl(trylast=True)  # after the fixtures have gone
def pytest_runtest_teardown(item, nextitem):
    """Drop the programs of a group that is done: kept, they fill 7 GB and JAX's caches, and what tests count is wrong then."""
    if nextitem is None or _group(nextitem) != _group(item):
        jax.clear_caches()


def _group(item) -> str:
    return item.get_closest_marker("xdist_group").args[0]
