"""One file with the neighbour tables of all frames of one system, or of a few.

Layout: magic, tables one after the other (count, index, shift), a row of sizes for each table, a JSON header, and a footer
with lengths and checksum.  The footer comes last so that tables are written as they are found and a file that was cut off is
recognised.  Files are written beside their place and renamed; they are read through a memory map.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from dpjax.errors import DataError, OutputError
from dpjax.neighbors.table import NeighborTable

MAGIC = b"dpjaxNB1"
_FOOTER = struct.Struct("<QQI8s")  # bytes of the rows, bytes of the header, checksum of all before the footer, magic
_CHUNK = 1 << 24


def index_dtype(n_atom: int) -> np.dtype:
    """Narrowest type for atom indices in storage."""
    return np.dtype(np.uint16 if n_atom < 2**16 else np.int32)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turns an OSError into an OutputError that names the file."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: the neighbour cache cannot be written ({error})") from error


class TableWriter:
    """Writes tables one by one; the file appears under its name only with :meth:`commit`.

    Raises:
        OutputError: the folder cannot be written or is full.
    """

    def __init__(self, path: Path):
        self.path = path
        with _naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        self._part = Path(name)
        self._file = os.fdopen(handle, "wb")
        self._rows: list[tuple[int, int, int]] = []
        self._crc = 0
        self._size = 0
        self._put(MAGIC)

    def append(self, table: NeighborTable) -> None:
        """Adds the table of the next frame."""
        self._rows.append((self._size, table.n_edge, table.shift.itemsize))
        self._put(table.count.astype("<i4").tobytes())
        index = index_dtype(table.n_atom)
        self._put(table.index.astype(index.newbyteorder("<")).tobytes())
        self._put(table.shift.astype(table.shift.dtype.newbyteorder("<")).tobytes())

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._size

    def commit(self, header: dict) -> None:
        """Ends the file with ``header`` (JSON values) and gives it its name."""
        rows = np.asarray(self._rows, "<i8").reshape(-1, 3).tobytes()
        text = json.dumps(header).encode()
        self._put(rows)
        self._put(text)
        with _naming(self.path):
            self._file.write(_FOOTER.pack(len(rows), len(text), self._crc, MAGIC))
            self._file.close()
            os.replace(self._part, self.path)

    def abort(self) -> None:
        """Leaves nothing behind; does nothing after :meth:`commit`."""
        with _naming(self.path):
            try:
                self._file.close()
            finally:
                self._part.unlink(missing_ok=True)

    def _put(self, data: bytes) -> None:
        with _naming(self.path):
            self._file.write(data)
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)


class TableFile:
    """Tables in a file.

    Attributes:
        header: what the writer put there.

    Raises:
        DataError: the file is not complete and undamaged; the whole of it is checked once.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path, n_type: int):
        self._n_type = n_type
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size < len(MAGIC) + _FOOTER.size:
                raise DataError(f"{path}: the neighbour cache is truncated")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        end = len(self._map) - _FOOTER.size
        n_rows, n_text, crc, magic = _FOOTER.unpack_from(self._map, end)
        if magic != MAGIC or self._map[: len(MAGIC)] != MAGIC or len(MAGIC) + n_rows + n_text > end or n_rows % 24:
            raise DataError(f"{path}: the neighbour cache is truncated or of another version")
        if self._checksum(end) != crc:
            raise DataError(f"{path}: the checksum of the neighbour cache is wrong")
        self.header = json.loads(self._map[end - n_text : end])
        self._rows = np.frombuffer(self._map, "<i8", n_rows // 8, end - n_text - n_rows).reshape(-1, 3)

    @property
    def n_frame(self) -> int:
        return len(self._rows)

    def table(self, frame: int, n_atom: int) -> NeighborTable:
        """A copy of the table of one frame, which has so many atoms."""
        start, n_edge, width = (int(v) for v in self._rows[frame])
        n_count = n_atom * self._n_type
        index = index_dtype(n_atom)
        count = np.frombuffer(self._map, "<i4", n_count, start).reshape(n_atom, self._n_type)
        start += 4 * n_count
        at = np.frombuffer(self._map, index.newbyteorder("<"), n_edge, start)
        shift = np.frombuffer(self._map, f"<i{width}", 3 * n_edge, start + index.itemsize * n_edge).reshape(n_edge, 3)
        return NeighborTable(count.astype(np.int32), at.astype(np.int32), shift.astype(f"i{width}"))

    def _checksum(self, end: int) -> int:
        crc = 0
        for start in range(0, end, _CHUNK):
            crc = zlib.crc32(self._map[start : min(start + _CHUNK, end)], crc)
        return crc
