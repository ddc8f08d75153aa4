"""A pytest plugin that notes which components each test is about, and how it ended: ``pytest --features FILE``.

Nothing is typed at the tests.  While a test runs, fixtures included, the plugin watches which sections of the input language
become components (``Component.parse``), whether a model takes the form of the NVNMD hardware, and which files of reference
numbers are opened; ``scripts/feature_rows.py`` turns that into rows of the feature table.  FILE holds one entry per test and
is updated by each run, so that a table can be put together from parts of the suite.  Without the option nothing of this is
loaded.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dpjax.config import nvnmd
from dpjax.config.schema import Component
from tests.shared import REPOSITORY, load_script, shared_root

rows = load_script("feature_rows")

NUMBERS = "reads reference numbers"  # noted like a component
PROPERTY = "features"  # under which a report carries what was noted, also from a worker to the process that writes
MANY = 4  # kinds of descriptors: a fixture that builds so many serves tests that are about one of them each
_ENDINGS = (".npz", ".npy", ".json")
_INPUTS = ("pair_tables", "data", "config")  # folders that hold inputs, not numbers to compare with


class Notes:
    """What was seen, by what was running then: tests, fixtures and imports of test modules, one inside another."""

    def __init__(self) -> None:
        self._open: list[set[str]] = []
        self.fixtures: dict[str, set[str]] = {}  # of those set up last under each name, which are the ones in use
        self.modules: dict[str, set[str]] = {}

    def add(self, *names: str) -> None:
        """Note something for what runs now."""
        if self._open:
            self._open[-1].update(names)

    @contextmanager
    def during(self) -> Iterator[set[str]]:
        """What is seen inside; what contains it has seen it, too."""
        seen: set[str] = set()
        self._open.append(seen)
        try:
            yield seen
        finally:
            self._open.pop()
            self.add(*seen)

    def current(self) -> set[str]:
        """What was seen by what runs now."""
        return set(self._open[-1]) if self._open else set()


def noting_components(parse: Callable, notes: Notes) -> Callable:
    """``Component.parse`` that notes each component whose section was right, and the options that are rows."""

    @functools.wraps(parse)
    def wrapped(self: Component, section: dict, path: str, context: Any) -> Any:
        config = parse(self, section, path, context)
        row = rows.row_of(self)
        if config is not None and row is not None:
            notes.add(row, *rows.options_of(row, section))
        return config

    return wrapped


def noting_hardware(in_form: Callable, notes: Notes) -> Callable:
    """``nvnmd.in_form`` that notes models which get the form of the hardware."""

    @functools.wraps(in_form)
    def wrapped(config: Any, section: dict | None) -> Any:
        formed = in_form(config, section)
        if formed is not config:
            notes.add("option/model/nvnmd")
        return formed

    return wrapped


def holds_numbers(path: Any) -> bool:
    """Whether a file that is opened holds numbers that were made with DeePMD-kit."""
    if not isinstance(path, str) or not path.endswith(_ENDINGS):
        return False
    for root in _ROOTS:
        if path.startswith(root):
            return path[len(root) :].split(os.sep)[0] not in _INPUTS
    return False


_ROOTS = tuple(f"{folder}{os.sep}" for folder in (REPOSITORY / "tests" / "goldens", shared_root() / "golden"))


class Recorder:
    """The hooks."""

    def __init__(self, path: Path, writes: bool) -> None:
        self.path, self.writes = path, writes
        self.notes = Notes()
        self.tests: dict[str, dict] = {}
        self._restore = Component.parse, nvnmd.in_form

    def watch(self) -> None:
        """Begin to watch; the hook for opened files cannot be taken away, so it falls silent with ``unwatch``."""
        Component.parse = noting_components(Component.parse, self.notes)
        nvnmd.in_form = noting_hardware(nvnmd.in_form, self.notes)
        sys.addaudithook(self._on_event)

    def unwatch(self) -> None:
        Component.parse, nvnmd.in_form = self._restore
        self.notes = Notes()

    def _on_event(self, event: str, args: tuple) -> None:
        if event == "open" and holds_numbers(args[0]):
            self.notes.add(NUMBERS)

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector):
        with self.notes.during() as seen:
            report = yield
        if isinstance(collector, pytest.Module):
            self.notes.modules[collector.nodeid] = seen & {NUMBERS}
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        with self.notes.during() as seen:
            try:
                return (yield)
            finally:
                seen.intersection_update(of_one_subject(seen))  # in place: the first test that asks sees it, too
                self.notes.fixtures[fixturedef.argname] = seen

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        with self.notes.during():
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        if report.when == "call" or (report.when == "setup" and not report.passed):
            entry = self._entry(item, report)
            if entry is not None:
                report.user_properties.append((PROPERTY, entry))
        return report

    def _entry(self, item, report) -> dict | None:
        seen = self.notes.current().union(*(self.notes.fixtures.get(name, ()) for name in item.fixturenames))
        if hasattr(item, "callspec"):  # cases that were read when the module was imported
            seen |= self.notes.modules.get(item.nodeid.partition("::")[0], set())
        path = item.path.relative_to(REPOSITORY).as_posix()
        kind, uses = rows.kind_of(path, NUMBERS in seen), rows.uses_of(path)
        found = {kind: sorted(seen - {NUMBERS})} if kind else {}
        found |= {rows.USE: sorted(uses)} if uses else {}
        return {"outcome": report.outcome, "rows": found} if any(found.values()) else None

    def pytest_runtest_logreport(self, report):
        for name, entry in report.user_properties:
            if name == PROPERTY:
                self.tests[without_group(report.nodeid)] = entry

    def pytest_sessionfinish(self):
        if self.writes and self.tests:
            write(self.path, self.tests)

    def pytest_unconfigure(self):
        self.unwatch()


def of_one_subject(seen: set[str]) -> set[str]:
    """What a fixture saw, without components where it made models of many kinds, as for one call of another program."""
    kinds = sum(row.startswith("descriptor/") for row in seen)
    return seen if kinds < MANY else seen & {NUMBERS}


def without_group(name: str) -> str:
    """The name of a test as it is without several workers, for which pytest-xdist adds a group behind an @."""
    return name[: name.rfind("@")] if name.rfind("@") > name.rfind("]") else name


def write(path: Path, tests: dict[str, dict]) -> None:
    """Put the outcomes of some tests among those that a file holds; they take the place of older ones of the same tests."""
    before = json.loads(path.read_text()) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    partly = path.with_name(f"{path.name}.part")
    partly.write_text(json.dumps(dict(sorted((before | tests).items())), indent=0) + "\n")
    partly.replace(path)


def register(config: pytest.Config) -> None:
    """Called by ``tests/conftest.py`` where ``--features`` was given."""
    path = Path(config.getoption("features"))
    recorder = Recorder(
        path if path.is_absolute() else config.invocation_params.dir / path, not hasattr(config, "workerinput")
    )
    recorder.watch()
    config.pluginmanager.register(recorder, "features")
