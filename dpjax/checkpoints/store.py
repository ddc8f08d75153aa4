"""The checkpoints of one run: ``model.ckpt-1000``, ``model.ckpt-2000``, ... and a file ``checkpoint`` that names the newest.

Whatever moment a run is killed at, the folder holds at least the checkpoints it held before: a new one appears complete, then the
file ``checkpoint`` moves on, and only then old ones go.
"""

from __future__ import annotations

import os
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

from dpjax.checkpoints import folder
from dpjax.checkpoints.manifest import Tree
from dpjax.errors import ModelError, OutputError

POINTER = "checkpoint"
REPLACEMENT = ".new"  # ends the name of a complete checkpoint that is about to take the place of one of the same step
DISCARDED = ".old"


class CheckpointStore:
    """Saves and restores the checkpoints of a run.

    Args:
        directory: folder of the run; created by the first save.
        prefix: what folder names start with, ``<prefix>-<step>``; may hold folders of its own.
        keep: how many checkpoints stay; older ones go after a newer one is safe. Zero or less keeps all.
        pointed: whether the file ``checkpoint`` names the newest of these.
    """

    def __init__(
        self, directory: str | os.PathLike, prefix: str = "model.ckpt", keep: int = 5, pointed: bool = True
    ) -> None:
        base = Path(directory) / prefix
        self.directory, self.prefix, self.keep, self.pointed = base.parent, base.name, keep, pointed

    def path(self, step: int) -> Path:
        """Folder of a step, whether it exists or not."""
        return self.directory / f"{self.prefix}-{step}"

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, ascending."""
        pattern = re.compile(re.escape(self.prefix) + r"-(\d+)")
        found = [pattern.fullmatch(p.name) for p in self._entries()]
        return sorted(int(m[1]) for m in found if m and folder.is_complete(self.directory / m[0]))

    def latest_step(self) -> int | None:
        """The step the file ``checkpoint`` names, else the largest there is; None without checkpoints."""
        steps = self.steps()
        named = self._pointed_step()
        return named if named in steps else max(steps, default=None)

    def save(self, step: int, arrays: Tree, meta: dict[str, Any]) -> Path:
        """Saves a checkpoint and then removes those it makes superfluous.

        Checkpoints of larger steps go too: they belong to a continuation that this run has left.

        Args:
            step: updates done.
            arrays: nested dictionaries of arrays (jax or numpy).
            meta: JSON-serialisable description.

        Returns:
            The folder of the checkpoint.

        Raises:
            OutputError: it could not be written; checkpoints saved before are as they were.
        """
        path = self.path(step)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._tidy()
            self._write(path, arrays, meta)
            if self.pointed:
                self._point_to(path)
        except Exception as error:  # Orbax and its storage raise many kinds, a full disk among them
            self._discard_partial(path)
            raise OutputError(
                f"{path}: could not save the checkpoint ({_reason(error)}). Free disk space or choose a folder that can be "
                "written; checkpoints saved before are untouched."
            ) from error
        self._remove_superfluous(step)
        return path

    def restore(self, step: int | None = None) -> tuple[Tree, dict[str, Any]]:
        """Arrays (numpy, dtypes as saved) and description of a checkpoint.

        Args:
            step: which one; None takes the newest, or the newest that is not damaged, with a warning.

        Raises:
            ModelError: there is none, or it is damaged.
        """
        self._finish_replacement()
        newest = self.latest_step() if step is None else step
        if newest is None or newest not in self.steps():
            raise ModelError(self._nothing_found(newest))
        candidates = [newest, *(s for s in reversed(self.steps()) if s < newest)] if step is None else [step]
        damage = []
        for candidate in candidates:
            try:
                found = load_checkpoint(self.path(candidate))
            except ModelError as error:
                damage.append(str(error))
                continue
            if damage:
                warnings.warn(f"{' '.join(damage)} Using the older {self.path(candidate)} instead.", stacklevel=2)
            return found
        raise ModelError(" ".join(damage))

    def _entries(self) -> list[Path]:
        return list(self.directory.iterdir()) if self.directory.is_dir() else []

    def _pointed_step(self) -> int | None:
        pointer = self.directory / POINTER
        named = pointer.read_text().strip() if pointer.is_file() else ""
        match = re.fullmatch(re.escape(self.prefix) + r"-(\d+)", named)
        return int(match[1]) if match else None

    def _write(self, path: Path, arrays: Tree, meta: dict[str, Any]) -> None:
        if not path.exists():
            folder.write(path, arrays, meta)
            return
        folder.write(_with_suffix(path, REPLACEMENT), arrays, meta)
        path.rename(_with_suffix(path, DISCARDED))
        _with_suffix(path, REPLACEMENT).rename(path)

    def _point_to(self, path: Path) -> None:
        draft = self.directory / f".{POINTER}.tmp"
        draft.write_text(f"{path.name}\n")
        os.replace(draft, self.directory / POINTER)

    def _finish_replacement(self) -> None:
        """Gives a complete checkpoint its name where a kill came between the two renames of a replacement."""
        for entry in self._entries():
            final = entry.with_name(entry.name.removesuffix(REPLACEMENT))
            if (
                self._ours(entry)
                and entry.name.endswith(REPLACEMENT)
                and folder.is_complete(entry)
                and not final.exists()
            ):
                entry.rename(final)

    def _tidy(self) -> None:
        """Removes what killed saves left."""
        self._finish_replacement()
        for entry in self._entries():
            if self._ours(entry) and (folder.TEMPORARY in entry.name or entry.name.endswith((REPLACEMENT, DISCARDED))):
                shutil.rmtree(entry, ignore_errors=True)

    def _ours(self, entry: Path) -> bool:
        return bool(re.match(re.escape(self.prefix) + r"-\d+", entry.name))

    def _discard_partial(self, path: Path) -> None:
        for stem in (path, _with_suffix(path, REPLACEMENT)):
            shutil.rmtree(_with_suffix(stem, folder.TEMPORARY), ignore_errors=True)

    def _remove_superfluous(self, step: int) -> None:
        kept = [s for s in self.steps() if s <= step]
        kept = kept[-self.keep :] if self.keep > 0 else kept
        for old in self.steps():
            if old not in kept:
                shutil.rmtree(self.path(old), ignore_errors=True)
        shutil.rmtree(_with_suffix(self.path(step), DISCARDED), ignore_errors=True)

    def _nothing_found(self, step: int | None) -> str:
        have = ", ".join(map(str, self.steps())) or "none"
        asked = "a checkpoint" if step is None else f"the checkpoint {self.path(step).name}"
        return f"{self.directory}: expected {asked} named {self.prefix}-<step>; steps found here: {have}."


def load_checkpoint(path: str | os.PathLike) -> tuple[Tree, dict[str, Any]]:
    """Arrays (numpy, dtypes as saved) and description of one checkpoint folder.

    Raises:
        ModelError: the folder is not a checkpoint, or it is damaged.
    """
    path = Path(path)
    if not folder.is_complete(path):
        raise ModelError(
            f"{path}: not a checkpoint folder; expected one with {folder.ARRAYS} and {folder.META} inside."
        )
    try:
        return folder.read(path)
    except Exception as error:  # truncated files make the storage raise many kinds
        raise ModelError(
            f"{path}: this checkpoint is damaged ({_reason(error)}). Remove it or restart from another."
        ) from error


def is_checkpoint(path: str | os.PathLike) -> bool:
    """Whether ``path`` is the folder of one complete checkpoint."""
    return Path(path).is_dir() and folder.is_complete(Path(path))


def _with_suffix(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _reason(error: Exception) -> str:
    """The first line of an error, shortened: the storage reports whole call chains."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:160]}" if text else type(error).__name__
