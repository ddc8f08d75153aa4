"""Files that commands write as text."""

from __future__ import annotations

from pathlib import Path

from dpjax.errors import OutputError


def write_text(path: str | Path, text: str, what: str) -> Path:
    """Writes a file, with the folders above it, and returns its path.

    Args:
        path: of the file.
        text: what it will hold.
        what: what that is, for the message of an error.

    Raises:
        OutputError: it cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot write {what}: {error.strerror}") from error
    return path
