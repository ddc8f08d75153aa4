"""Writing an artifact: programs lowered for every platform on this machine, weights, and a manifest that describes both."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import flax.linen as nn
import jax
import numpy as np

from dpjax.config import ModelConfig
from dpjax.errors import ModelError, OutputError
from dpjax.export import runtime
from dpjax.export.manifest import describe_model
from dpjax.export.program import Entry, entries, export_entry, flat_weights
from dpjax.models import StandardModel
from dpjax.models.derived import require_no_modifier

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")  # that JAX lowers for without having them
_EPOCH = (1980, 1, 1, 0, 0, 0)  # date of every member, so that equal models give equal files


class Exportable(Protocol):
    """What is written: a ``dpjax.Potential``, or anything with these attributes of one."""

    config: ModelConfig
    model: nn.Module
    variables: dict[str, Any]


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
            no energy.
        OutputError: the file cannot be written; a file of that name stays as it was.
    """
    path = Path(path)
    if path.suffix != runtime.SUFFIX:
        raise ModelError(
            f"{path}: an artifact's name ends in {runtime.SUFFIX}; `dpjax convert` writes .dp and .yaml for DeePMD-kit"
        )
    platforms = _checked_platforms(platforms)
    weights = checked_weights(potential)
    wanted = entries(potential.config, hessian=hessian)
    programs, convention = _programs(potential, wanted, platforms)
    members = programs | {runtime.WEIGHTS: _npz(weights), "runtime.py": Path(runtime.__file__).read_bytes()}
    manifest = describe_model(potential.model, weights, wanted) | {
        "platforms": list(platforms),
        "calling_convention_version": convention,
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(members.items())},
    }
    _write(path, {runtime.MANIFEST: json.dumps(manifest, indent=1, allow_nan=False).encode(), **members})
    return path


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
    require_no_modifier(potential.config, "an artifact")
    weights = flat_weights(jax.device_get(potential.variables))
    bad = [name for name, array in weights.items() if not np.isfinite(array.astype(np.float64)).all()]
    if bad:
        raise ModelError(
            f"weights that are NaN or infinite are not exported: {', '.join(bad)}. Freeze an earlier checkpoint."
        )
    return weights


def _programs(potential: Exportable, wanted: Sequence[Entry], platforms: Sequence[str]) -> tuple[dict[str, bytes], int]:
    """Serialised programs by member name, and the calling convention they need."""
    members, convention = {}, 0
    with jax.enable_x64(True), _no_source_locations():
        for entry in wanted:
            try:
                exported = export_entry(potential.model, potential.variables, entry, platforms)
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


def _write(path: Path, members: dict[str, bytes]) -> None:
    """Write beside the target and rename: a reader never meets half a file."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                for name, data in members.items():
                    archive.writestr(_member_info(name), data)
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
