"""The shape of the package: imports point one way, readers know no jax, importing dpjax leaves the process as it was."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "dpjax"

# A package imports only from packages on an earlier line, or from itself.
LAYERS = (
    "units errors memory machine config formats data neighbors batching geometry nn descriptors fittings models statistics losses "
    "schedules optimizers train_state checkpoints training finetune compress interop export interfaces plotting cli"
).split()
DOORS = ("__init__.py", "__main__.py")  # of dpjax itself: these may name anything, lazily
JAX_FREE = ("units", "errors", "config", "formats", "data")

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.name not in DOORS)


def layer_of(path: Path) -> str:
    """First part of a module's name below ``dpjax``."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_names(path: Path):
    """Every absolute dotted name that a module imports, at its top or inside a function, with its line."""
    package = ["dpjax", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + ([node.module] if node.module else [])
            if base == ["dpjax"]:
                yield from ((f"dpjax.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield ".".join(base), node.lineno


def imported_layers(path: Path):
    for name, line in imported_names(path):
        if name == "dpjax" or name.startswith("dpjax."):
            yield (name.split(".") + [""])[1], line


def test_every_module_has_a_layer():
    strangers = {layer_of(path) for path in MODULES} - set(LAYERS)
    assert not strangers, f"add {sorted(strangers)} to LAYERS, where they belong, and to docs/architecture.md"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_to_the_left(path):
    own = LAYERS.index(layer_of(path))
    wrong = [
        f"line {line}: dpjax.{target}"
        for target, line in imported_layers(path)
        if not (target == "" and layer_of(path) == "cli")  # the command uses the front door, as users do
        and (target not in LAYERS or LAYERS.index(target) > own)
    ]
    assert not wrong, f"{layer_of(path)} imports from its right (or through the package's front door): {wrong}"


@pytest.mark.parametrize("path", [p for p in MODULES if layer_of(p) in JAX_FREE], ids=lambda p: p.stem)
def test_readers_name_no_jax(path):
    jax_names = [name for name, _ in imported_names(path) if name.split(".")[0] in ("jax", "jaxlib", "flax", "optax")]
    assert not jax_names


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_readers_load_no_jax():
    code = "import sys, dpjax.config, dpjax.formats, dpjax.data; print('jax' in sys.modules)"
    assert run_python(code).strip() == "False"


SNAPSHOT = """
import json, os, random, warnings
import jax, numpy
def state():
    return {
        "flags": {k: str(v) for k, v in sorted(jax.config.values.items())},
        "environment": dict(os.environ),
        "filters": [str(f) for f in warnings.filters],
        "numpy seed": str(numpy.random.get_state()),
        "seed": str(random.getstate()),
    }
states = [state()]
import dpjax
states.append(state())
for name in dpjax.__dir__():
    getattr(dpjax, name)
states.append(state())
print(json.dumps(states))
"""


def test_importing_dpjax_changes_no_setting():
    before, imported, used = json.loads(run_python(SNAPSHOT))
    assert imported == before
    del before["seed"], used["seed"]  # a library that dpjax uses draws from Python's generator when it is loaded
    used["flags"] = {name: used["flags"][name] for name in before["flags"]}  # and others define flags of their own
    assert used == before
