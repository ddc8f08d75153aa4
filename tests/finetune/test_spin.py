"""Fine-tuning of models with spins: what belongs to virtual atoms moves with the types whose spins they stand for."""

from __future__ import annotations

import numpy as np
import pytest

import dpjax
from dpjax.config import parse_model
from dpjax.errors import ConfigError
from dpjax.finetune import TypeChange, remapped, with_pretrained_model, with_pretrained_sel
from dpjax.finetune.sections import in_our_types, require_like_spins
from dpjax.models import build_model, init_variables
from tests.contracts.cases import model, potential, se_atten, se_e2_a
from tests.contracts.structures import make
from tests.training.test_spin import SPIN, config, magnet

WITH = {"use_spin": [True, False], "virtual_scale": [0.3]}


def test_a_section_in_other_types():
    """Which types carry a spin, and how far out their virtual atoms are; new types as in the input, or without."""
    theirs = parse_model(model(se_e2_a(exclude_types=[[0, 1]]), spin=WITH))
    types = TypeChange(("O", "H"), ("X", "H", "O"))
    ours = parse_model(
        model(
            se_e2_a(sel=[3, 4, 5]),
            type_map=["X", "H", "O"],
            spin={"use_spin": [True, False, True], "virtual_scale": 0.2},
        )
    )
    found = in_our_types(theirs, types, ours)
    assert found["spin"] == {"use_spin": [True, False, True], "virtual_scale": [0.2, 0.0, 0.3]}
    assert found["descriptor"]["sel"] == [3, 28, 20] and found["descriptor"]["exclude_types"] == [[2, 1]]
    assert parse_model(found).descriptor.sel == (3, 28, 20, 3, 28, 20)
    found = in_our_types(theirs, TypeChange(("O", "H"), ("H", "O")))
    assert found["spin"] == {"use_spin": [False, True], "virtual_scale": [0.0, 0.3]}
    script = with_pretrained_model({"model": {"type_map": ["H", "O"], "spin": WITH}}, theirs, new_head=False)["model"]
    assert script["spin"] == WITH and script["descriptor"]["sel"] == [28, 20]


def test_sel_of_the_pretrained_model():
    theirs = parse_model(model(se_e2_a(), spin=WITH))
    own = {"type_map": ["H", "O"], "descriptor": se_e2_a(sel="auto")}
    filled = with_pretrained_sel({"model": own | {"spin": {"use_spin": [1], "virtual_scale": 0.3}}}, theirs)
    assert filled["model"]["descriptor"]["sel"] == [28, 20]
    assert with_pretrained_sel({"model": own}, theirs)["model"]["descriptor"]["sel"] == "auto"  # atoms alone are fewer


def test_with_and_without_spins():
    plain, magnetic = parse_model(model(se_e2_a())), parse_model(model(se_e2_a(), spin=WITH))
    with pytest.raises(ConfigError, match="model/spin: found, but the pretrained model has none"):
        require_like_spins(magnetic, plain)
    with pytest.raises(ConfigError, match="model/spin: missing, but the pretrained model has one"):
        require_like_spins(plain, magnetic)


@pytest.mark.parametrize("descriptor", [se_e2_a(type_one_side=False, neuron=[2, 4]), se_atten(attn_layer=0)])
def test_types_in_another_order_leave_predictions_as_they_are(descriptor):
    """Networks of virtual atoms, rows of their statistics and of tables go where the types of their atoms go."""
    pot = potential(model(descriptor, spin=WITH))
    kept = descriptor | ({"sel": descriptor["sel"][::-1]} if isinstance(descriptor["sel"], list) else {})
    turned = parse_model(model(kept, type_map=["H", "O"], spin={"use_spin": [False, True], "virtual_scale": [0.3]}))
    fresh = init_variables(build_model(turned))
    moved, rows = remapped(pot.config, turned, pot.variables, fresh)
    assert {row.origin for row in rows} <= {"pretrained", "remapped"}
    s = make("crystal", spin=3)
    want = pot.evaluate(s.coord[None], s.atype, s.cell[None], spin=s.spin[None])
    found = dpjax.Potential(turned, moved).evaluate(s.coord[None], 1 - s.atype, s.cell[None], spin=s.spin[None])
    for name in ("energy", "force", "force_mag", "virial"):
        np.testing.assert_allclose(found[name], want[name], atol=1e-12, err_msg=name)


@pytest.mark.slow
def test_a_run_without_a_step(tmp_path):
    """Types in another order: forces and magnetic forces stay, the bias of the types of atoms follows the data."""
    system = magnet(tmp_path / "a")
    section = config([system])["model"]
    before = potential(section)
    dpjax.save(before, tmp_path / "model.dp")
    turned = {
        "training/numb_steps": 0,
        "model/type_map": ["H", "O"],
        "model/descriptor/sel": section["descriptor"]["sel"][::-1],
        "model/spin": {"use_spin": [False, True], "virtual_scale": SPIN["virtual_scale"]},
    }
    result = dpjax.train(config([system], turned), tmp_path / "run", finetune=tmp_path / "model.dp")
    after = dpjax.load(result.checkpoint)
    types, part = np.loadtxt(system / "type.raw", int), system / "set.000"
    coord, box, spin = (np.load(part / f"{name}.npy").reshape(8, -1, 3) for name in ("coord", "box", "spin"))
    old = before.evaluate(coord, types, box, spin=spin)
    new = after.evaluate(coord, 1 - types, box, spin=spin)
    for name in ("force", "force_mag"):
        np.testing.assert_allclose(new[name], old[name], atol=1e-12)
    shift = np.mean(np.load(part / "energy.npy").reshape(-1, 1) - old["energy"])
    np.testing.assert_allclose(new["energy"], old["energy"] + shift, atol=1e-10)
    bias = [pot.variables["stats"]["out_bias"][:, 0] for pot in (before, after)]
    np.testing.assert_allclose(bias[1][2:], bias[0][[3, 2]])  # virtual atoms have no energy
    text = (tmp_path / "run" / "finetune.out").read_text()
    assert "remapped" in text and "fresh" not in text
