"""The classes of ``deepmd.infer`` and ours on the same files: the same names, shapes and numbers.

``PEER`` names a virtual environment that has deepmd-kit 3.2.0; all models are opened there in one process.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import dpjax
from dpjax.errors import ModelError
from dpjax.interfaces.deepmd import DeepDipole, DeepEval, DeepPolar, DeepPot, calc_model_devi
from tests.contracts.cases import CASES, Case, model, potential, se_atten, se_e2_a, se_e3_tebd
from tests.contracts.structures import make
from tests.interop.test_peer import OTHERS, peer_python

SCRIPT = """
import json
import sys
from pathlib import Path
import numpy as np
from deepmd.entrypoints.convert_backend import convert_backend
from deepmd.infer import DeepEval
from deepmd.infer.model_devi import calc_model_devi
FACTS = ("rcut", "ntypes", "type_map", "sel_type", "dim_fparam", "dim_aparam", "ntypes_spin", "model_size", "observed_types")
OWN = {"DeepDOS": ("numb_dos",), "DeepProperty": ("var_name", "task_dim", "intensive")}
open_models = {}
for stored in sys.argv[1:]:
    name = stored.removesuffix(".dp")
    convert_backend(INPUT=stored, OUTPUT=name + ".pth", atomic_virial=True)
    dp = open_models[name] = DeepEval(name + ".pth")
    data = dict(np.load(name + ".in.npz"))
    where, mixed, given = (data.pop(key) for key in ("coord", "mixed", "atype")), None, None
    coord, mixed, atype = where
    cell = data.pop("cell", None)
    out = {}
    def keep(key, values):
        out.update({f"{key}/{i}": array for i, array in enumerate(values if isinstance(values, tuple) else (values,))})
    for atomic in (False, True):
        keep(f"eval-{atomic}", dp.eval(coord, cell, atype, atomic=atomic, **data))
        keep(f"mixed-{atomic}", dp.eval(coord, cell, mixed, atomic, mixed_type=True, **data))
    keep("open", dp.eval(coord, None, atype, **data))
    if "spin" not in data:  # whose features are those of virtual atoms, too
        keep("descriptor", dp.eval_descriptor(coord, cell, mixed, mixed_type=True, **data))
        keep("descriptor32", dp.eval_descriptor(coord, cell, atype, dtype="fp32", **data))
        keep("last_layer", dp.eval_fitting_last_layer(coord, cell, atype, **data))
        keep("embedding", dp.eval_embedding(coord, cell, atype, **data))
    if type(dp).__name__ == "DeepDipole":
        keep("full", dp.eval_full(coord, cell, atype, atomic=True, **data))
    charged = "charge_spin" in data  # it would join tables of charges and spins to those of types, which are of other lengths
    try:
        if not charged and "spin" not in data:
            keep("typeebd", dp.eval_typeebd())
    except KeyError:
        pass
    facts = {"class": type(dp).__name__, "has_spin": dp.has_spin}
    if "spin" not in data:  # some of the others are not to be had of scripted models with spins
        facts |= {fact: getattr(dp, f"get_{fact}")() for fact in FACTS + OWN.get(type(dp).__name__, ())}
        facts |= {fact: getattr(dp, fact) for fact in ("has_efield", "use_spin", "has_hessian")}
        facts |= {"has_default_fparam": dp.has_default_fparam()}
    Path(name + ".json").write_text(json.dumps(facts))
    np.savez(name + ".out.npz", **out)
pair = [dp for name, dp in open_models.items() if Path(name).name in ("se_e2_a", "se_e2_a-other")]
data = np.load(str(Path(name).with_name("se_e2_a.in.npz")))
where = data["coord"], data["cell"], data["atype"]
real = {"energy": np.ones((2, 1)), "force": data["coord"].reshape(2, -1, 3), "virial": np.ones((2, 9))}
devi = {"plain": calc_model_devi(*where, pair), "atomic": calc_model_devi(*where, pair, frequency=5, atomic=True, relative=0.5)}
devi["real"] = calc_model_devi(*where, pair, str(Path(name).with_name("theirs.out")), real_data=real)
np.savez(str(Path(name).with_name("devi.npz")), **devi)
"""
MORE = [
    Case("se_e3_tebd-hybrid", model({"type": "hybrid", "list": [se_atten(attn_layer=0), se_e3_tebd(), se_e2_a()]})),
    Case("float32", model(se_e2_a(precision="float32"), fitting={"precision": "float32"})),
    Case("defaults", model(se_atten(), fitting={"numb_fparam": 1, "default_fparam": [0.3]})),
]
CHECKED = [case for case in [*CASES, *OTHERS, *MORE] if case.in_pytorch and case.grid is None]


def section_of(case: Case) -> dict:
    """Without a case vector, which DeePMD-kit cannot be given, and ``atom_ener``, with which it stops in a second call."""
    fitting = {
        key: value for key, value in case.section["fitting_net"].items() if key not in ("dim_case_embd", "atom_ener")
    }
    return case.section | {"fitting_net": fitting}


def structures(pot: dpjax.Potential) -> dict[str, np.ndarray]:
    """Two frames, flattened, with whatever inputs the potential takes; ``mixed`` are other types, frame by frame."""
    s = make("crystal", numbers=(5, 6), **pot.config.inputs)
    rng = np.random.default_rng(3)
    data = {"coord": np.stack([s.coord, s.coord + rng.normal(scale=0.05, size=s.coord.shape)]).reshape(2, -1)}
    data |= {"cell": np.stack([s.cell.ravel()] * 2), "atype": s.atype, "mixed": np.stack([s.atype, s.atype[::-1]])}
    if s.charge_spin is not None:
        data["charge_spin"] = np.stack([s.charge_spin, s.charge_spin + 1])
    if s.spin is not None:
        data["spin"] = np.stack([s.spin.ravel(), 0.9 * s.spin.ravel()])
    return data | {name: getattr(s, name) for name in ("fparam", "aparam") if getattr(s, name) is not None}


@pytest.fixture(scope="module")
def there(tmp_path_factory) -> Path:
    """A folder with models, structures, and what DeePMD-kit makes of them."""
    python, folder = peer_python(), tmp_path_factory.mktemp("doors")
    pots = {case.name: potential(section_of(case)) for case in CHECKED}
    pots["se_e2_a-other"] = potential(section_of(CASES[0]), seed=5)
    for name, pot in pots.items():
        fixed = pot.variables["stats"]["fitting_net"]
        if "constant_matrix" in fixed:
            fixed["constant_matrix"] *= 0  # the PyTorch backend stores it and leaves it out; the others add it
        dpjax.save(pot, folder / f"{name}.dp")
        np.savez(folder / f"{name}.in.npz", **structures(pot))
    files = [str(folder / f"{name}.dp") for name in pots]
    quiet = os.environ | {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([python, "-c", SCRIPT, *files], capture_output=True, text=True, env=quiet)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def compare(what: str, ours, theirs: dict[str, np.ndarray], tolerance: float = 1e-9) -> None:
    """Arrays of one call: as many, of the same shapes, numbers relative to the largest one, at least 1."""
    ours = ours if isinstance(ours, tuple) else (ours,)
    expected = [theirs[key] for key in sorted(theirs) if key.startswith(f"{what}/")]
    assert [array.shape for array in ours] == [array.shape for array in expected], what
    for i, (own, other) in enumerate(zip(ours, expected, strict=True)):
        error = np.abs(own - 1.0 * other).max()  # masks too / max(1.0, np.abs(other).max())
        print(f"{what}/{i}: largest difference {error:.1e}")
        assert error < tolerance, f"{what}/{i}"


@pytest.mark.slow
@pytest.mark.parametrize("case", CHECKED, ids=lambda case: case.name)
def test_the_same_arrays_and_facts(case, there):
    name, single = case.name, case.name == "float32"
    theirs, facts = dict(np.load(there / f"{name}.out.npz")), json.loads((there / f"{name}.json").read_text())
    data = dict(np.load(there / f"{name}.in.npz"))
    coord, cell, atype, mixed = (data.pop(key) for key in ("coord", "cell", "atype", "mixed"))
    dp = DeepEval(there / f"{name}.dp")
    coarse = 2e-5 if single else 1e-9
    for atomic in (False, True):
        compare(f"eval-{atomic}", dp.eval(coord, cell, atype, atomic=atomic, **data), theirs, coarse)
        compare(f"mixed-{atomic}", dp.eval(coord, cell, mixed, atomic, mixed_type=True, **data), theirs, coarse)
    compare("open", dp.eval(coord, None, atype, **data), theirs, coarse)
    fine = 2e-6 if single else 1e-10
    mixture = (
        "use_srtab" in case.section
    )  # of which DeePMD-kit forgets the exclusions in features, and all types in sel_type
    if "spin" not in data and not mixture:
        compare_features(dp, (coord, cell, atype, mixed), data, theirs, fine)
    if "typeebd/0" in theirs:
        compare("typeebd", dp.eval_typeebd(), theirs, fine)
    elif "charge_spin" not in data and "spin" not in data:
        with pytest.raises(KeyError, match="networks for each type"):
            dp.eval_typeebd()
    if isinstance(dp, DeepDipole):
        compare_derivatives(dp.eval_full(coord, cell, atype, atomic=True, **data), theirs)
    assert facts.pop("class") == type(dp).__name__
    if mixture:
        assert facts.pop("sel_type") == []
    for fact, value in facts.items():
        own = getattr(dp, fact, None) if fact.startswith(("has_", "use_")) else getattr(dp, f"get_{fact}")()
        assert (own() if callable(own) else own) == value, fact


def compare_features(dp: DeepEval, where: tuple, data: dict, theirs: dict[str, np.ndarray], tolerance: float) -> None:
    """Features of a model, in the precisions that can be asked for."""
    coord, cell, atype, mixed = where
    descriptor = dp.eval_descriptor(coord, cell, mixed, mixed_type=True, **data)
    last_layer = dp.eval_fitting_last_layer(coord, cell, atype, **data)
    for name, values in (("descriptor", descriptor), ("last_layer", last_layer)):
        compare(name, values, theirs, tolerance)
        assert values.dtype == theirs[f"{name}/0"].dtype
    compare("descriptor32", dp.eval_descriptor(coord, cell, atype, dtype="fp32", **data), theirs, 2e-6)
    compare("embedding", dp.eval_embedding(coord, cell, atype, **data), theirs, 2e-6)


def compare_derivatives(ours: tuple, theirs: dict[str, np.ndarray]) -> None:
    """DeePMD-kit's PyTorch backend gives arrays (frame, atom, component, ...) the shape (frame, component, atom, ...) unmoved."""
    for i, moved in enumerate((False, True, False, False, True)):
        other = theirs[f"full/{i}"]
        assert ours[i].shape == other.shape
        if moved:
            n_frame, dim, n_atom, width = other.shape
            other = other.reshape(n_frame, n_atom, dim, width).swapaxes(1, 2)
        np.testing.assert_allclose(ours[i], other, rtol=0, atol=1e-9 * max(1.0, np.abs(other).max()))


@pytest.mark.slow
def test_the_same_deviations(there):
    data, theirs = np.load(there / "se_e2_a.in.npz"), np.load(there / "devi.npz")
    where = data["coord"], data["cell"], data["atype"]
    pair = [DeepPot(there / f"{name}.dp") for name in ("se_e2_a", "se_e2_a-other")]
    real = {"energy": np.ones((2, 1)), "force": data["coord"].reshape(2, -1, 3), "virial": np.ones((2, 9))}
    ours = {"plain": calc_model_devi(*where, pair)}
    ours["atomic"] = calc_model_devi(*where, pair, frequency=5, atomic=True, relative=0.5)
    ours["real"] = calc_model_devi(*where, pair, there / "ours.out", real_data=real)
    for key, table in ours.items():
        np.testing.assert_allclose(table, theirs[key], rtol=1e-8, atol=1e-10)
    assert (there / "ours.out").read_text() == (there / "theirs.out").read_text()


@pytest.mark.slow
def test_a_class_for_another_output_is_refused(there):
    with pytest.raises(ModelError, match="predicts energy; open it with DeepPot"):
        DeepPolar(there / "se_e2_a.dp")
