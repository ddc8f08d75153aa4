"""Writing an artifact: programs lowered for every platform on this machine, weights, and a manifest that describes both."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import flax.linen as nn
import jax
import numpy as np

from dpjax.config import ModelConfig
from dpjax.errors import ModelError, OutputError
from dpjax.export import runtime
from dpjax.export.correction import correction as charged
from dpjax.export.manifest import describe_charges, describe_model
from dpjax.export.program import CORRECTION, Entry, entries, export_entry, flat_weights
from dpjax.models import StandardModel
from dpjax.models.derived import require_no_modifier
from dpjax.models.dipole_charge import Charges

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")  # that JAX lowers for without having them
_EPOCH = (1980, 1, 1, 0, 0, 0)  # date of every member, so that equal models give equal files


class Correcting(Protocol):
    """What a modifier adds: ``Potential.correction``, or anything with these attributes of one."""

    dipole_model: StandardModel
    variables: dict[str, Any]
    charges: Charges
    types: (
        np.ndarray
    )  # types of the dipole model by those of the model that is corrected, and then that of placeholders


class Exportable(Protocol):
    """What is written: a ``dpjax.Potential``, or anything with these attributes of one."""

    config: ModelConfig
    model: nn.Module
    variables: dict[str, Any]
    correction: Correcting | None


def save(
    potential: Exportable,
    path: str | os.PathLike,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
    *,
    hessian: bool = False,
) -> Path:
    """Write a model as one portable file.

    Args:
        potential: model and weights; networks keep the precision they have.
        path: file to write, ending in ``.dpx``; replaced if it is there.
        platforms: of :data:`PLATFORMS`, those the artifact is to run on. None of them has to be present here.
        hessian: add a program for second derivatives of the energy.

    Returns:
        The path.

    Raises:
        ModelError: a model that cannot be exported, weights that are not finite, a platform JAX does not know, a Hessian of what is
            no energy or of a model with a modifier.
        OutputError: the file cannot be written; a file of that name stays as it was.
    """
    path = Path(path)
    if path.suffix != runtime.SUFFIX:
        raise ModelError(
            f"{path}: an artifact's name ends in {runtime.SUFFIX}; `dpjax convert` writes .dp and .yaml for DeePMD-kit"
        )
    platforms = _checked_platforms(platforms)
    if hessian:
        require_no_modifier(potential.config, "a program for second derivatives")
    weights = checked_weights(potential)
    wanted, more, about = entries(potential.config, hessian=hessian), {}, {}
    if potential.config.modifier is not None:
        more = {runtime.MODIFIER: _zipped(_correction(potential.correction, platforms))}
        types = potential.correction.types[: len(potential.config.type_map)].tolist()
        about = {"modifier": {"type": potential.config.modifier.type, "member": runtime.MODIFIER, "types": types}}
    programs, convention = _programs(potential.model, potential.variables, wanted, platforms)
    own = programs | {runtime.WEIGHTS: _npz(weights), "runtime.py": Path(runtime.__file__).read_bytes()} | more
    manifest = describe_model(potential.model, weights, wanted) | about
    _write(path, _zipped(_described(manifest, own, platforms, convention)))
    return path


def _correction(correction: Correcting, platforms: Sequence[str]) -> dict[str, bytes]:
    """Members of the artifact inside the artifact of a model with a modifier: the dipole model and the sum over its charges."""
    model, variables, wanted = correction.dipole_model, correction.variables, (CORRECTION,)
    weights = _finite_weights(variables)
    programs, convention = _programs(model, variables, wanted, platforms, partial(charged, charges=correction.charges))
    manifest = describe_model(model, weights, wanted) | describe_charges(correction.charges)
    return _described(manifest, programs | {runtime.WEIGHTS: _npz(weights)}, platforms, convention)


def _described(
    manifest: dict[str, Any], members: dict[str, bytes], platforms: Sequence[str], convention: int
) -> dict[str, bytes]:
    """The members of an artifact and, before them, its manifest."""
    whole = manifest | {
        "platforms": list(platforms),
        "calling_convention_version": convention,
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(members.items())},
    }
    return {runtime.MANIFEST: json.dumps(whole, indent=1, allow_nan=False).encode(), **members}


def _checked_platforms(platforms: Sequence[str]) -> tuple[str, ...]:
    names = (platforms,) if isinstance(platforms, str) else tuple(dict.fromkeys(platforms))
    unknown = [name for name in names if name not in PLATFORMS]
    if unknown or not names:
        hint = " (for 'gpu' say cuda or rocm)" if "gpu" in unknown else ""
        raise ModelError(f"platforms: found {list(names)}, expected some of {', '.join(PLATFORMS)}{hint}")
    return names


def checked_weights(potential: Exportable) -> dict[str, np.ndarray]:
    """The weights by path.

    Raises:
        ModelError: a model that cannot be exported, weights that are not finite.
    """
    if not isinstance(potential.model, StandardModel):
        raise ModelError(
            f"a model of type {potential.config.type!r} cannot be exported yet; artifacts hold models of type 'standard'"
        )
    return _finite_weights(potential.variables)


def _finite_weights(variables: dict[str, Any]) -> dict[str, np.ndarray]:
    weights = flat_weights(jax.device_get(variables))
    bad = [name for name, array in weights.items() if not np.isfinite(array.astype(np.float64)).all()]
    if bad:
        raise ModelError(
            f"weights that are NaN or infinite are not exported: {', '.join(bad)}. Freeze an earlier checkpoint."
        )
    return weights


def _programs(
    model: StandardModel,
    variables: dict[str, Any],
    wanted: Sequence[Entry],
    platforms: Sequence[str],
    outputs: Callable | None = None,
) -> tuple[dict[str, bytes], int]:
    """Serialised programs by member name, and the calling convention they need; ``outputs`` as of :func:`export_entry`."""
    members, convention = {}, 0
    with jax.enable_x64(True), _no_source_locations():
        for entry in wanted:
            try:
                exported = export_entry(model, variables, entry, platforms, outputs)
            except (ValueError, NotImplementedError, jax.errors.JAXTypeError) as error:
                raise ModelError(
                    f"entry point {entry.name!r} cannot be exported for {', '.join(platforms)}: {error}"
                ) from error
            members[runtime.program_member(entry.name)] = bytes(exported.serialize())
            convention = max(convention, exported.calling_convention_version)
    return members, convention


@contextlib.contextmanager
def _no_source_locations() -> Iterator[None]:
    """Programs without the file names and line numbers of this machine: smaller, and equal for equal models."""
    name = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, name)
    jax.config.update(name, 0)
    try:
        yield
    finally:
        jax.config.update(name, before)


def _npz(weights: dict[str, np.ndarray]) -> bytes:
    """The arrays as an ``.npz`` of fixed dates; floats that NumPy does not know are stored by their bits."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in weights.items():
            stored = array if array.dtype.isbuiltin == 1 else array.view(f"u{array.dtype.itemsize}")
            part = io.BytesIO()
            np.lib.format.write_array(part, np.ascontiguousarray(stored).reshape(stored.shape), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), part.getvalue())
    return buffer.getvalue()


def _zipped(members: dict[str, bytes]) -> bytes:
    """A zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(_member_info(name), data)
    return buffer.getvalue()


def _write(path: Path, data: bytes) -> None:
    """Write beside the target and rename: a reader never meets half a file."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        raise OutputError(
            f"{path}: the artifact could not be written ({error.strerror or error}). Free disk space or choose a folder that "
            "exists and can be written."
        ) from error


def _member_info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = 0o644 << 16  # ordinary files for `unzip`
    info.compress_type = zipfile.ZIP_DEFLATED
    return info
