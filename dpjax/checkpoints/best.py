"""The best checkpoints of a run by a metric of its validation: ``best.ckpt-<step>.t-<rank>``, rank 1 the best."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpjax.checkpoints import folder
from dpjax.checkpoints.manifest import Tree
from dpjax.errors import OutputError

INCOMING = ".new"  # ends the name of a complete checkpoint that has no rank yet


@dataclass(frozen=True, order=True)
class Record:
    """A checkpoint and its error; the smaller error is the better, then the earlier step."""

    metric: float
    step: int


class BestCheckpoints:
    """Keeps the checkpoints with the smallest errors.

    Args:
        directory: where they are.
        prefix: what their names start with.
        keep: how many stay.
        records: those of the run that is continued; what else lies there under such a name is removed, as is a record without a
            checkpoint.
    """

    def __init__(
        self, directory: str | os.PathLike, prefix: str = "best.ckpt", keep: int = 1, records: Sequence[Record] = ()
    ) -> None:
        self.directory, self.prefix, self.keep = Path(directory), prefix, keep
        there = self._by_step()
        self.records = sorted(record for record in records if record.step in there)[:keep]
        self._arrange()

    def path(self, record: Record) -> Path:
        """Folder of a record at its present rank."""
        return self.directory / f"{self.prefix}-{record.step}.t-{self.records.index(record) + 1}"

    def offer(self, record: Record, arrays: Tree, meta: dict[str, Any]) -> Path | None:
        """Saves a checkpoint if it is among the best; those that are no longer go after it is safe.

        Returns:
            Its folder, or None if it is not good enough.

        Raises:
            OutputError: it could not be written; the others are as they were.
        """
        records = sorted([*(r for r in self.records if r.step != record.step), record])[: self.keep]
        if record not in records:
            return None
        incoming = self.directory / f"{self.prefix}-{record.step}{INCOMING}"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(incoming, ignore_errors=True)
            folder.write(incoming, arrays, meta)
        except Exception as error:  # Orbax and its storage raise many kinds, a full disk among them
            shutil.rmtree(incoming.with_name(incoming.name + folder.TEMPORARY), ignore_errors=True)
            raise OutputError(
                f"{incoming.with_suffix('')}: could not save the best checkpoint ({type(error).__name__}: {error}). Free disk "
                "space, or set validating/save_best to false; checkpoints saved before are untouched."
            ) from error
        self.records = records
        self._arrange()
        return self.path(record)

    def _by_step(self) -> dict[int, list[Path]]:
        """Complete checkpoints by their step, one that has no rank yet first."""
        pattern = re.compile(re.escape(self.prefix) + r"-(\d+)(\.t-\d+|" + re.escape(INCOMING) + ")")
        found: dict[int, list[Path]] = {}
        for path in sorted(self.directory.iterdir()) if self.directory.is_dir() else ():
            match = pattern.fullmatch(path.name)
            if match and folder.is_complete(path):
                found.setdefault(int(match[1]), []).append(path)
        return {step: sorted(paths, key=lambda p: not p.name.endswith(INCOMING)) for step, paths in found.items()}

    def _arrange(self) -> None:
        """Removes what has no record, and gives every other folder the name of its rank."""
        there = self._by_step()
        kept = {record.step for record in self.records}
        for step, paths in there.items():
            for path in paths[1:] if step in kept else paths:
                shutil.rmtree(path, ignore_errors=True)
        waiting = []
        for record in self.records:  # by way of a name without rank: two may change places
            path, final = there[record.step][0], self.path(record)
            if path != final:
                incoming = self.directory / f"{self.prefix}-{record.step}{INCOMING}"
                if path != incoming:
                    path.rename(incoming)
                waiting.append((incoming, final))
        for incoming, final in waiting:
            incoming.rename(final)
