"""The order of parameters, compared with that of DeePMD-kit's PyTorch modules.

``PEER`` names a virtual environment that has deepmd-kit 3.2.0.
"""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest

import dpjax
from dpjax.models.parameter_order import reference_order
from dpjax.optimizers import parameter_names
from tests.contracts.cases import CASES, Case, model, potential, se_e2_a, se_e3
from tests.interop.test_peer import peer_python

SCRIPT = """
import json
import sys
from pathlib import Path
import numpy as np
from deepmd.dpmodel.utils.serialization import load_dp_model
from deepmd.pt.model.model import BaseModel, get_model
from deepmd.pt.model.model.spin_model import SpinEnergyModel
for stored in Path(sys.argv[1]).glob("*.dp"):
    tree = load_dp_model(str(stored))["model"]
    read = (SpinEnergyModel if tree["type"] == "spin_ener" else BaseModel).deserialize(tree)
    made = get_model(json.loads(stored.with_suffix(".json").read_text()))
    named = {name: value for name, value in read.named_parameters() if value.numel()}
    names = [name for name, value in made.named_parameters() if value.numel()]
    assert list(named) == names, (stored.stem, list(named), names)
    np.savez(stored.with_suffix(".npz"), *(value.detach().numpy() for value in named.values()))
"""
CHECKED = [
    *(case for case in CASES if case.in_pytorch and case.name != "dpa3-spin"),  # which is spelt as for TensorFlow
    Case("se_e3-time-steps", model(se_e3(neuron=[3, 3, 3], resnet_dt=True))),
    Case("se_e2_a-deep", model(se_e2_a(type_one_side=False, neuron=[2] * 11), fitting={"resnet_dt": True})),
]


@pytest.mark.slow
def test_deepmd_kit_has_the_parameters_in_this_order(tmp_path):
    python = peer_python()
    potentials = {case.name: potential(case.section) for case in CHECKED}
    for name, pot in potentials.items():
        dpjax.save(pot, tmp_path / f"{name}.dp")
        (tmp_path / f"{name}.json").write_text(json.dumps(pot.config.raw))
    done = subprocess.run([python, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    for name, pot in potentials.items():
        leaves, theirs = parameter_names(pot.variables["params"]), np.load(tmp_path / f"{name}.npz")
        for parameter, array in zip(reference_order(leaves), theirs.values(), strict=True):
            np.testing.assert_allclose(array, leaves[parameter], rtol=1e-12, err_msg=f"{name} {parameter}")
