"""What a file looked like when it was opened, so that a file replaced in the middle of a run is noticed, not mixed in."""

from __future__ import annotations

import os
from typing import NamedTuple

from dpjax.errors import DataError


class Stamp(NamedTuple):
    """Size and time of the last change of a file."""

    size: int  # bytes
    mtime: int  # ns

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """That of a file with this status."""
        return cls(status.st_size, status.st_mtime_ns)

    def check(self, path: str, status: os.stat_result | None) -> None:
        """Raises DataError if the file is another one now; ``status`` None: it is gone."""
        if status is None:
            raise changed(path, f"it had {self.size} bytes when it was opened and is gone now")
        if self != Stamp.of(status):
            raise changed(
                path, f"it had {self.size} bytes when it was opened and has {status.st_size} of a later date now"
            )

    def check_path(self, path: str) -> None:
        """The same for what lies at ``path`` now."""
        self.check(path, status_of(path))


def status_of(path: str) -> os.stat_result | None:
    """Status of a file, None if there is none or it cannot be reached."""
    try:
        return os.stat(path)
    except OSError:
        return None


def changed(path: str, what: str) -> DataError:
    """The error about a file that is not what it was when it was opened."""
    return DataError(
        f"{path}: the file changed while the training reads it ({what}). Frames of the old and of the new file would be "
        "mixed. Start anew, or put the old file back and use --restart; write new data beside the old."
    )
