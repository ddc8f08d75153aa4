"""The persistent cache of compiled programs: a second run of the same training starts without compiling."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

log = logging.getLogger(__name__)

_SETTINGS = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
WORTH_KEEPING = 0.3  # seconds of compilation from which on a program is kept


def default_folder() -> Path:
    """Folder in the user's cache, one for each kind of processor: CPU programs use the instructions of their machine."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "dpjax" / f"programs-{_processor()}"


def _processor() -> str:
    """A short name for machine type and processor features."""
    features = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        features += next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "")
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:8]}"


def _loader_is_noisy() -> bool:
    """On CPUs XLA prints pages of false alarms for each cached program, unless its log level is 3 as in the command line."""
    return jax.default_backend() == "cpu" and os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "3"


@contextmanager
def persistent_programs(folder: str | None) -> Iterator[None]:
    """Keep programs compiled inside the block, and find those kept before; JAX's own settings are put back afterwards.

    Args:
        folder: where; ``"off"`` for nowhere; None for :func:`default_folder`, where the loader is quiet. A folder
            the user gave JAX itself (the variable
            ``JAX_COMPILATION_CACHE_DIR``) is left alone. One that cannot be written costs a warning.
    """
    if folder == "off" or (folder is None and (jax.config.jax_compilation_cache_dir or _loader_is_noisy())):
        yield
        return
    path = default_folder() if folder is None else Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.warning(
            "dpjax/compilation_cache: %s cannot be used (%s); programs are compiled anew in each run", path, error
        )
        yield
        return
    before = {name: getattr(jax.config, name) for name in _SETTINGS}
    for name, value in zip(_SETTINGS, (str(path), WORTH_KEEPING), strict=True):
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
