"""What is wrong with an input, gathered so that one run names everything."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from dpjax.errors import ConfigError


@dataclass(frozen=True)
class Problem:
    """One mistake: the path of the key, and what was found, what was expected, what to do."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


@dataclass
class Report:
    """The mistakes found so far, in the order in which they were found, each once."""

    problems: list[Problem] = field(default_factory=list)

    def add(self, path: str, text: str) -> None:
        """Notes a mistake."""
        self.extend([Problem(path, text)])

    def extend(self, problems: Iterable[Problem]) -> None:
        """Notes several mistakes."""
        for problem in problems:
            if problem not in self.problems:
                self.problems.append(problem)

    def touches(self, path: str) -> bool:
        """Whether something at or below ``path`` is wrong, so that checks which need the whole section must wait."""
        return any(p.path == path or p.path.startswith(f"{path}/") for p in self.problems)

    def moved(self, place: Callable[[str], str]) -> Report:
        """The same mistakes at other paths, also where the text quotes one: where the user wrote the key."""
        report = Report()
        for problem in self.problems:
            text = re.sub(r"`([^` ]+)`", lambda quoted: f"`{place(quoted[1])}`", problem.text)
            report.add(place(problem.path), text)
        return report

    def raise_any(self, source: str = "", line: Callable[[str], int | None] = lambda path: None) -> None:
        """Raise ConfigError with all mistakes, if there are any.

        Args:
            source: name of the input file; empty for an input that came as a dict.
            line: the line of a path in that file, where known.
        """
        if not self.problems:
            return
        if len(self.problems) == 1:
            problem = self.problems[0]
            raise ConfigError(_located(source, line(problem.path)) + str(problem), self.problems)
        ordered = sorted(self.problems, key=lambda p: line(p.path) or 0)
        head = f"{source or 'the input'}: {len(ordered)} mistakes"
        raise ConfigError("\n".join([head, *_lines(ordered, line)]), ordered)


def _located(source: str, number: int | None) -> str:
    if not source:
        return ""
    return f"{source}, line {number}: " if number else f"{source}: "


def _lines(problems: Iterable[Problem], line: Callable[[str], int | None]) -> Iterator[str]:
    for problem in problems:
        number = line(problem.path)
        yield f"  line {number}: {problem}" if number else f"  {problem}"
