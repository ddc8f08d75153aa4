"""The learning curve file ``lcurve.out``, in DeePMD-kit's layout.

A header line names the columns: ``step``, then every metric in alphabetical order, ``<name>_val`` before ``<name>_trn`` (only
``_trn`` without validation data), then ``lr``.  The step of a row is the number of updates done.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

import numpy as np

from dpjax.errors import DataError, OutputError
from dpjax.training.rows import column, in_order

REMARK = "# If there is no available reference data, rmse_*_{val,trn} will print nan\n"

Row = Mapping[str, float]


class LearningCurve:
    """Writes rows to a file; each is on disk before the next step.

    Args:
        path: the file; its folder is created.
        restart_step: None starts a new file. A step continues the file that is there, without its rows beyond that step.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike, restart_step: int | None = None) -> None:
        self.path = Path(path)
        self._names: list[str] | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if restart_step is not None and self.path.exists():
                self._names = truncate(self.path, restart_step)
                self._file: TextIO = self.path.open("a", encoding="utf-8")
            else:
                self._file = self.path.open("w", encoding="utf-8")
        except OSError as error:
            raise self._failure(error) from error

    def write(self, step: int, training: Row, validation: Row | None, rate: float) -> None:
        """Adds a row, and a header before it where the columns are new.

        Args:
            step: updates done.
            training, validation: metric -> value; NaN where the data lack the label. None without validation data.
            rate: learning rate of the last update.

        Raises:
            OutputError: the file cannot be written, for example because the disk is full.
        """
        columns = _columns(training, validation)
        names = ["step", *(name for group in columns for name in group), "lr"]
        try:
            if names != self._names:
                self._file.write(_header(columns) + REMARK)
                self._names = names
            self._file.write(_line(step, training, validation, rate))
            self._file.flush()
        except OSError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Closes the file; what was written is there already.

        Raises:
            OutputError: as in :meth:`write`, whose rest is tried again.
        """
        try:
            self._file.close()
        except OSError as error:
            raise self._failure(error) from error

    def __enter__(self) -> LearningCurve:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self.path}: could not write the learning curve ({error.strerror or error}). Free disk space, or choose another "
            "file with training/disp_file or another folder with --output."
        )


def read_lcurve(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Columns of a learning curve of dpjax or DeePMD-kit by name, each (n_row,); steps are ascending.

    A last line that is cut off is left out; of rows with the same step the later counts; a column that a part of the file does
    not have is NaN there.

    Raises:
        DataError: the file cannot be read, or has no header or no row.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: could not read the learning curve ({error}).") from error
    rows = {int(row["step"]): row for _, row in _rows(text)}
    if not rows:
        raise DataError(f"{path}: found no row under a header such as `# step rmse_trn lr`; expected a learning curve.")
    names = list(dict.fromkeys(name for step in sorted(rows) for name in rows[step]))
    return {name: np.array([rows[step].get(name, np.nan) for step in sorted(rows)]) for name in names}


def truncate(path: Path, last_step: int) -> list[str] | None:
    """Removes rows beyond ``last_step`` and rows that are cut off; returns the columns in force at the end of the file."""
    text = path.read_text(encoding="utf-8")
    keep = {number for number, row in _rows(text) if row["step"] <= last_step}
    kept, columns = [], None
    for number, line in enumerate(text.splitlines(keepends=True)):
        if number in keep or (line.startswith("#") and line.endswith("\n")):
            kept.append(line)
            columns = _names(line) or columns
    draft = path.with_name(f".{path.name}.tmp")
    draft.write_text("".join(kept), encoding="utf-8")
    os.replace(draft, path)
    return columns


def _rows(text: str) -> Iterator[tuple[int, dict[str, float]]]:
    """Line number and values of every complete row."""
    names: list[str] | None = None
    for number, line in enumerate(text.splitlines(keepends=True)):
        names = _names(line) or names
        values = _numbers(line)
        if names and values and len(values) == len(names) and line.endswith("\n"):
            yield number, dict(zip(names, values, strict=True))


def _names(line: str) -> list[str] | None:
    words = line.lstrip("# ").split()
    return words if line.startswith("#") and words[:1] == ["step"] else None


def _numbers(line: str) -> list[float]:
    try:
        return [float(word) for word in line.split()]
    except ValueError:
        return []


def _columns(training: Row, validation: Row | None) -> list[tuple[str, ...]]:
    """Column names, those of one metric together."""
    endings = ["trn"] if validation is None else ["val", "trn"]
    return [tuple(column(name, ending) for ending in endings) for name in in_order(training)]


def _header(columns: list[tuple[str, ...]]) -> str:
    groups = ["   " + " ".join(f"{name:>11}" for name in group) for group in columns]
    return f"# {'step':5}{''.join(groups)}   {'lr':8}\n"


def _line(step: int, training: Row, validation: Row | None, rate: float) -> str:
    sides = [training] if validation is None else [validation, training]
    groups = ["   " + " ".join(f"{side.get(name, np.nan):11.2e}" for side in sides) for name in in_order(training)]
    return f"{step:7d}{''.join(groups)}   {rate:8.1e}\n"
