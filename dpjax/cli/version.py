"""``dpjax --version``: what is installed here and what it computes on."""

from __future__ import annotations

import argparse
import platform
from collections import Counter
from importlib.metadata import PackageNotFoundError, version


class Version(argparse.Action):
    """Prints the versions and the devices; looked up only when asked."""

    def __call__(self, parser, namespace, values, option_string=None):
        print(f"dpjax {_version('dpjax')}")
        print(f"jax {_version('jax')}, jaxlib {_version('jaxlib')}")
        print(f"Python {platform.python_version()}")
        print(f"devices: {_devices()}", flush=True)
        parser.exit()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


def _devices() -> str:
    """The devices that JAX sees, or why it sees none: this must print where an installation is broken."""
    try:
        import jax

        found = Counter(_name(device.platform, device.device_kind) for device in jax.devices())
    except Exception as error:  # a missing library, a driver that is too old, a wrong JAX_PLATFORMS, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        return f"none, jax cannot start: {reason}"
    return ", ".join(f"{count} x {name}" for name, count in found.items())


def _name(platform: str, kind: str) -> str:
    return platform if platform == kind else f"{platform} ({kind})"
