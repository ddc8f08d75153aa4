"""The frames of a file, sorted into the kinds that are systems of their own."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from dpjax.data.labels import LabelSpec
from dpjax.data.record_checks import Record, check_values
from dpjax.data.records import Kind, RecordStore, RecordSystem
from dpjax.errors import DataError

log = logging.getLogger(__name__)

SAMPLED = 1000  # frames that are looked at where looking at all would take long
KEPT_BYTES = 1 << 26  # of the frames used last, for each file


class Frames:
    """The frames of a file, sorted into kinds.

    Attributes:
        store: the file.
        used_types: numbers of the types of the frames that were looked at.
    """

    def __init__(self, store: RecordStore, specs: Sequence[LabelSpec], skip_bad: bool) -> None:
        """Looks at the frames: at all of them, or at a sample if the file says their sizes and looking at all takes long.

        Raises:
            DataError: a frame that is looked at is damaged (the first one is named), unless those are left out; none is left.
        """
        self.store = store
        self.used_types = np.zeros(0, int)
        self._recent = Recent(KEPT_BYTES)
        wanted = {stem for spec in specs for stem in spec.files} - {"coord", "box"}
        if len(store) == 0:
            raise DataError(
                f"{store.name} holds no frame; expected at least one. Write it again or take it out of `systems`."
            )
        self._groups = self._sampled(wanted) if not (skip_bad or store.quick or store.sizes is None) else None
        if self._groups is None:
            self._groups = self._all(wanted, specs, skip_bad)

    def systems(self) -> list[tuple[str, RecordSystem]]:
        """A reader for each kind of frames, with what its name has beyond that of the file."""
        kinds = sorted(
            self._groups, key=lambda kind: (kind.n_atom, not kind.periodic, -len(kind.names), sorted(kind.names))
        )
        return [(_suffix(kind, kinds), RecordSystem(self, kind, self._groups[kind])) for kind in kinds]

    def record(self, index: int) -> Record:
        """A frame, from memory if it was used lately."""
        found = self._recent.get(index)
        if found is None:
            found = self.fresh(index)
            self._recent.put(index, found)
        return found

    def fresh(self, index: int) -> Record:
        """A frame, read from the file and not remembered."""
        return self.store.load(index)

    def _all(self, wanted: set[str], specs: Sequence[LabelSpec], skip_bad: bool) -> dict[Kind, np.ndarray]:
        found: dict[Kind, list[int]] = {}
        bad: list[str] = []
        used: set[int] = set()
        for index in range(len(self.store)):
            try:
                kind, types = self._look(index, wanted)
                if skip_bad:
                    record = self.fresh(index)
                    types = record["atype"]
                    check_values(self.store.place(index), record, specs)
            except DataError as error:
                if not skip_bad:
                    raise
                bad.append(str(error))
                continue
            found.setdefault(kind, []).append(index)
            used.update(() if types is None else types.tolist())
        if not found:
            raise DataError(f"{self.store.name}: none of its {len(self.store)} frames can be read; the first: {bad[0]}")
        if bad:
            log.warning(
                "%s: %d of %d frames are left out; the first: %s", self.store.name, len(bad), len(self.store), bad[0]
            )
        self._use(used)
        return {kind: np.array(indices) for kind, indices in found.items()}

    def _sampled(self, wanted: set[str]) -> dict[Kind, np.ndarray] | None:
        """Kinds by the sizes that the file states; None if frames of one size are of several kinds."""
        looked = np.unique(np.linspace(0, len(self.store) - 1, SAMPLED, dtype=int))
        sizes, first = np.unique(self.store.sizes, return_index=True)
        kinds: dict[int, Kind] = {}
        used: set[int] = set()
        for index in (*first.tolist(), *looked.tolist()):
            kind, types = self._look(index, wanted)
            if kind != kinds.setdefault(int(self.store.sizes[index]), kind):
                return None
            used.update(() if types is None else types.tolist())
        self._use(used)
        return {kinds[int(size)]: np.flatnonzero(self.store.sizes == size) for size in sizes}

    def _look(self, index: int, wanted: set[str]) -> tuple[Kind, np.ndarray | None]:
        seen = self.store.glance(index)
        return Kind(seen.n_atom, "box" in seen.names, frozenset(seen.names & wanted)), seen.types

    def _use(self, types: set[int]) -> None:
        self.used_types = np.array(sorted(t for t in types if t >= 0), int)


class Recent:
    """The frames used last, up to a number of bytes. May be used from several threads."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._held: OrderedDict[int, Record] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, index: int) -> Record | None:
        """The frame, if it is still there."""
        with self._lock:
            if index in self._held:
                self._held.move_to_end(index)
            return self._held.get(index)

    def put(self, index: int, record: Record) -> None:
        """Remembers a frame, and forgets others if need be."""
        with self._lock:
            if index in self._held:
                return
            self._held[index] = record
            self._size += _bytes(record)
            while self._size > self._limit and len(self._held) > 1:
                self._size -= _bytes(self._held.popitem(last=False)[1])


def _bytes(record: Record) -> int:
    return sum(values.nbytes for values in record.values()) + 500


def _suffix(kind: Kind, kinds: Sequence[Kind]) -> str:
    """What tells the frames of a kind from the others of the file; empty where all are alike."""
    if len(kinds) == 1:
        return ""
    text = f"#{kind.n_atom}"
    same = [other for other in kinds if other.n_atom == kind.n_atom]
    if len({other.periodic for other in same}) > 1:
        text += ",periodic" if kind.periodic else ",open"
    if len({other.names for other in same}) > 1:
        everything = frozenset().union(*(other.names for other in same))
        lacking = sorted(everything - kind.names)
        text += f",without {'+'.join(lacking)}" if lacking else ",all labels"
    return text
