"""Model deviation as ``deepmd.infer.calc_model_devi`` gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dpjax.errors import DataError, OutputError
from dpjax.interfaces.deepmd.inputs import read_inputs
from dpjax.interfaces.deepmd.kinds import DeepPot
from dpjax.interfaces.deviation import model_deviation, table_text


def calc_model_devi(
    coord: Any,
    box: Any,
    atype: Any,
    models: Sequence[DeepPot],
    fname: str | Path | None = None,
    frequency: int = 1,
    mixed_type: bool = False,
    fparam: Any = None,
    aparam: Any = None,
    real_data: Mapping[str, np.ndarray] | None = None,
    atomic: bool = False,
    relative: float | None = None,
    relative_v: float | None = None,
    charge_spin: Any = None,
) -> np.ndarray:
    """How far models differ on structures; neighbours are searched once for all models with one cut-off.

    Args:
        coord, box, atype, mixed_type, fparam, aparam, charge_spin: as for ``DeepPot.eval``.
        models: at least two with the same types; with ``real_data`` one is enough.
        fname: file that the table is added to.
        frequency: steps between two frames, for the first column.
        real_data: ``energy`` and ``virial`` per atom, and ``force``, to compare with, instead of the models with each other.
        atomic: add a column for each atom.
        relative, relative_v: divide deviations of forces, of virials, by their size plus this level.

    Returns:
        (n_frame, 8): step; largest, smallest and mean deviation of the virial and of the force; deviation of the energy.  With
        ``atomic`` a column per atom follows, 0 for placeholders.  Energies and virials are per atom; placeholders are none.

    Raises:
        ConfigError: fewer models, or of other types than each other.
        DataError: as for ``DeepPot.eval``.
        OutputError: the file cannot be written.
    """
    sizes = {"dim_fparam": models[0].get_dim_fparam(), "dim_aparam": models[0].get_dim_aparam()} if models else {}
    inputs = read_inputs(
        coord, box, atype, mixed_type, fparam=fparam, aparam=aparam, charge_spin=charge_spin,
        **{"dim_fparam": 0, "dim_aparam": 0} | sizes,
    )  # fmt: skip
    found = model_deviation(
        [model.potential for model in models], inputs.coord, inputs.atype, inputs.cell, **inputs.parameters,
        labels=None if real_data is None else _totals(real_data, inputs.atype),
        relative=relative, relative_v=relative_v,
    )  # fmt: skip
    found = replace(found, atoms=np.nan_to_num(found.atoms))
    if fname is not None:
        _append(fname, table_text("", found, frequency, atomic))
    steps = np.arange(inputs.n_frame)[:, None] * frequency
    return np.concatenate([steps, found.table, *([found.atoms] if atomic else [])], axis=1)


def _append(path: str | Path, text: str) -> None:
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise OutputError(f"{path}: cannot write the deviations: {error.strerror}") from error


def _totals(real_data: Mapping[str, np.ndarray], atype: np.ndarray) -> dict[str, np.ndarray]:
    """Labels of frames; DeePMD-kit's callers hand energies and virials over per atom."""
    missing = [name for name in ("energy", "force", "virial") if name not in real_data]
    if missing:
        raise DataError(f"real_data: {', '.join(missing)} missing; expected energy, force and virial")
    natoms = (atype >= 0).sum(axis=1)[:, None]
    per_atom = {name: np.reshape(real_data[name], (len(atype), -1)) * natoms for name in ("energy", "virial")}
    return per_atom | {"force": np.asarray(real_data["force"])}
