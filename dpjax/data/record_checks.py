"""One frame of a file of frames, and what must hold for it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dpjax.data.checks import flat_cells, out_of_range
from dpjax.data.labels import BOX, COORD, LabelSpec
from dpjax.errors import DataError

Record = dict[str, np.ndarray]
"""One frame: ``atype`` (n,) integers, ``coord`` (3n,), ``box`` (9,) unless open, further arrays under the names of labels."""


ADVICE = "Write the frame again, or leave it out with `dpjax/skip_bad_frames`."


def check_frame(place: str, record: Record, n_name: int | None) -> None:
    """Checks that a frame has atoms, their types and positions, and perhaps a cell.

    Args:
        place: what messages call it.
        record: the frame.
        n_name: number of types that have names; None: numbers are the model's own.

    Raises:
        DataError: something is missing or has another size.
    """
    for name in ("atype", "coord"):
        if name not in record:
            raise DataError(f"{place} has no {name}; expected types and positions of its atoms. {ADVICE}")
    n_atom = len(record["atype"])
    if n_atom == 0 or record["coord"].size != 3 * n_atom:
        raise DataError(
            f"{place} has {n_atom} types and {record['coord'].size} coordinates; expected three coordinates for each of at least "
            f"one atom. {ADVICE}"
        )
    if "box" in record and record["box"].size != 9:
        raise DataError(f"{place}: the cell has {record['box'].size} numbers; expected 9. {ADVICE}")
    lowest, highest = record["atype"].min(), record["atype"].max()
    if lowest < -1 or (n_name is not None and highest >= n_name):
        wrong = lowest if lowest < -1 else highest
        raise DataError(
            f"{place} has an atom of type {wrong}; expected numbers from 0{f' to {n_name - 1}' if n_name else ''}, as many "
            f"as the type map of the file has names, or -1 for placeholders. {ADVICE}"
        )


def check_values(place: str, record: Record, specs: Iterable[LabelSpec]) -> None:
    """Raises DataError where a frame holds no finite numbers, too few of them, one out of its range, or a cell without volume."""
    n_atom = len(record["atype"])
    for spec in (COORD, BOX, *specs):
        name = stored(spec, record)
        if name is not None and record[name].size != spec.width(n_atom):
            raise DataError(f"{place}: `{name}` has {record[name].size} numbers; expected {spec.width(n_atom)}.")
        if name is not None and not np.isfinite(record[name]).all():
            raise DataError(f"{place}: `{name}` holds a number that is not finite.")
        if name is not None and (found := out_of_range(spec, record[name][None])):
            raise DataError(f"{place}: {found[1]}.")
    if "box" in record and flat_cells(record["box"][None])[0]:
        raise DataError(f"{place}: the cell has no volume.")


def stored(spec: LabelSpec, names: Iterable[str]) -> str | None:
    """Under which of its names an array is stored."""
    return next((stem for stem in spec.files if stem in names), None)
