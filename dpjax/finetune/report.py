"""Where the numbers of a fine-tuned model came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

PRETRAINED, REMAPPED, FRESH, STATISTICS = "pretrained", "remapped", "fresh", "statistics"


@dataclass(frozen=True)
class Row:
    """One array of the model.

    Attributes:
        name: its path, joined by dots.
        shape: of the array.
        origin: ``pretrained`` as it was, ``remapped`` from the places that its types had there, ``fresh`` (initial values) or
            ``statistics`` of the training data.
        note: what else is to say, such as what of it is new.
    """

    name: str
    shape: tuple[int, ...]
    origin: str
    note: str = ""

    @property
    def group(self) -> str:
        """The part of the model it belongs to."""
        parts = self.name.split(".")
        depth = 3 if len(parts) > 2 and parts[2].startswith("members_") else 2
        return ".".join(parts[:depth])


def summary(rows: Sequence[Row]) -> Iterator[str]:
    """A line for each part of the model: how many arrays came from where."""
    for group in dict.fromkeys(row.group for row in rows):
        found = Counter(row.origin for row in rows if row.group == group)
        notes = dict.fromkeys(row.note for row in rows if row.group == group and row.note)
        counts = ", ".join(f"{number} {origin}" for origin, number in found.items())
        yield f"{group}: {counts}" + (f" ({'; '.join(notes)})" if notes else "")


def table(rows: Sequence[Row]) -> str:
    """All arrays, a line each, in columns; lines that begin with # are comments."""
    cells = [("# name", "shape", "came from", "")]
    cells += [(row.name, "x".join(map(str, row.shape)) or "1", row.origin, row.note) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    lines = ["  ".join([*(text.ljust(w) for text, w in zip(line, widths, strict=False)), line[3]]) for line in cells]
    return "\n".join(line.rstrip() for line in lines) + "\n"
