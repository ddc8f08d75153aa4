"""Forces that dpa4 gives directly: DeePMD-kit's numbers in both conventions, losses of disturbed structures, rotations, refusals.

The stored numbers are those of DeePMD-kit 3.2.0 (PyTorch, float64).  In its basis y points the other way, so that its forces do not
turn with the structure; ``_mirrorfix`` are those of the formulas as they are meant.
"""

from __future__ import annotations

import functools
import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dpjax import losses
from dpjax.batching import Disturbance, choose_layout, pack
from dpjax.config import model_of, parse_model, with_direct_forces
from dpjax.errors import ConfigError, ModelError
from dpjax.interfaces.files import from_weights
from dpjax.interop import direct_forces
from dpjax.models import atomic_outputs, batch_geometry, build_model, init_variables, predict
from tests.shared import golden, shared

SITUATIONS = ("ortho", "triclinic", "cluster")
FORCE_RMSD = 1.25  # of the stored models


def folder(case: str):
    """Of a stored case; one is part of the repository."""
    return golden("dpa4", case) if case == "dens" else shared("golden", "dpa4", case)


@functools.cache
def stored(case: str, kind: str) -> dict[str, np.ndarray]:
    return dict(np.load(folder(case) / f"{kind}.npz"))


@functools.cache
def potential(case: str, conventions: str):
    section = json.loads((folder(case) / "model.json").read_text())
    return from_weights(section, stored(case, "weights"), conventions=conventions)


@functools.cache
def program(case: str, conventions: str):
    model = potential(case, conventions).model
    return jax.jit(lambda variables, batch: predict(model, variables, batch))


def frames_of(pot, case: str, moved: str | None = None, turn: np.ndarray | None = None):
    """Frames of all situations, displaced by the array ``moved`` and turned; how many each situation has."""
    ref, frames, counts = stored(case, "ref"), [], []
    turn = np.eye(3) if turn is None else turn
    for name in SITUATIONS:
        coord = ref[f"{name}.coord"] + (0.0 if moved is None else ref[f"{name}.{moved}"])
        cell = ref[f"{name}.box"] @ turn.T if ref[f"{name}.pbc"] else None
        frames += pot.frames(coord @ turn.T, ref[f"{name}.atype"], cell)
        counts.append(len(coord))
    return frames, counts


def predicted(case, conventions, mask=None, noise=None, force=None, turn=None):
    """Predictions of each situation, (n_frame, n_atom, ...); names of stored arrays say what was done to the atoms."""
    pot, ref = potential(case, conventions), stored(case, "ref")
    frames, counts = frames_of(pot, case, noise, turn)
    layout = choose_layout(frames, 1)
    batch, places = pack(frames, layout)
    own = {key: np.zeros((layout.n_atom, *size)) for key, size in (("mask", ()), ("noise", (3,)), ("force", (3,)))}
    number = 0
    for name, count in zip(SITUATIONS, counts, strict=True):
        for i in range(count if mask else 0):
            place = places[number + i]
            own["mask"][place] = ref[f"{name}.{mask}"][i]
            own["force"][place] = ref[f"{name}.{force}"][i] @ (np.eye(3) if turn is None else turn.T)
            if noise:
                own["noise"][place] = ref[f"{name}.{noise}"][i]
        number += count
    batch = batch.replace(disturbance=Disturbance(**own))
    out = jax.device_get(program(case, conventions)(pot.variables, batch))
    rows, number = {}, 0
    for name, count in zip(SITUATIONS, counts, strict=True):
        those = range(number, number + count)
        atoms = {k: np.stack([v[places[i]] for i in those]) for k, v in out.items() if k != "energy"}
        rows[name] = atoms | {"energy": out["energy"][list(those)]}
        number += count
    return rows


@pytest.mark.parametrize("conventions", ["reference", "corrected"])
@pytest.mark.parametrize("case", ["dens", "dens_schedule"])
def test_numbers_of_the_reference_in_both_conventions(case, conventions):
    """Of structures with atoms whose forces are shown; ``reference`` mirrors y, as DeePMD-kit does."""
    ref, suffix = stored(case, "ref"), "" if conventions == "reference" else "_mirrorfix"
    rows = predicted(case, conventions, mask="noise_mask", force="force_input")
    for name, out in rows.items():
        got = {
            "energy": out["energy"],
            "clean_force_norm": out["force"] / FORCE_RMSD,
            "denoising_force_norm": out["denoising_force_norm"],
        }
        for key, values in got.items():
            want = ref[f"{name}.{key}{suffix}"]
            np.testing.assert_allclose(values, want, rtol=0, atol=1e-9 * max(1.0, np.abs(want).max()))
        if conventions == "reference":
            normal = ref[f"{name}.atom_energy_norm"][..., 0]
            spread = potential(case, conventions).variables["stats"]["out_std"][0, 0]
            bias = potential(case, conventions).variables["stats"]["out_bias"][ref[f"{name}.atype"], 0]
            np.testing.assert_allclose(out["atom_energy"], spread * normal + bias, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(out["force"], ref[f"{name}.force"], rtol=1e-9, atol=1e-9)


def test_losses_of_the_reference():
    """Of batches that were left alone, and of atoms that were displaced and whose forces were shown."""
    case = "dens"
    printed = json.loads((folder(case) / "loss.json").read_text())
    pot, ref = potential(case, "reference"), stored(case, "ref")
    facts = losses.model_facts(pot.config, pot.variables["stats"])
    alone = predicted(case, "reference")
    noisy = predicted(case, "reference", mask="loss_noise_mask", noise="loss_noise", force="loss_force_label")
    for name in SITUATIONS:
        given = dict(printed[name]["settings"])
        start, rate, natoms = (given.pop(key) for key in ("starter_learning_rate", "learning_rate", "natoms"))
        label = {"energy": ref[f"{name}.loss_energy_label"], "force": ref[f"{name}.loss_force_label"]}
        for kind, rows in (("clean", alone), ("noisy", noisy)):
            for loss_func in ("mae", "mse"):
                loss = losses.from_config({"type": "dens", "loss_func": loss_func, **given}, start, **facts)
                value, metrics = loss(rows[name], label, natoms=natoms, learning_rate=rate, find={})
                np.testing.assert_allclose(value, ref[f"{name}.loss_{loss_func}_{kind}"], rtol=1e-9)
                for key, number in printed[name][f"{loss_func}_{kind}"].items():
                    np.testing.assert_allclose(metrics[key], number, rtol=1e-9)


def test_forces_turn_with_the_structure_and_those_of_the_reference_do_not():
    turn = Rotation.random(random_state=5).as_matrix()
    given = {"mask": "noise_mask", "force": "force_input"}
    worst = {}
    for conventions in ("corrected", "reference"):
        before, after = predicted("dens", conventions, **given), predicted("dens", conventions, **given, turn=turn)
        errors = []
        for name in SITUATIONS:
            errors.append(np.abs(after[name]["energy"] - before[name]["energy"]).max())
            for key in ("force", "denoising_force_norm"):
                errors.append(np.abs(after[name][key] - before[name][key] @ turn.T).max())
        worst[conventions] = max(errors)
    assert worst["corrected"] < 1e-10
    assert worst["reference"] > 1.0


def test_what_is_not_shown_does_not_count():
    """Forces of atoms that were left alone change nothing, and a batch that says nothing was done is like one that says so."""
    pot, case = potential("dens", "corrected"), "dens"
    frames, _ = frames_of(pot, case)
    batch, _ = pack(frames, choose_layout(frames, 1))
    n_atom, shown = batch.layout.n_atom, np.random.default_rng(0).normal(size=(batch.layout.n_atom, 3))
    silent = batch.replace(disturbance=Disturbance(np.zeros(n_atom), np.zeros((n_atom, 3)), shown))
    run = program(case, "corrected")
    got, want = run(pot.variables, silent), run(pot.variables, batch)
    for name, values in want.items():
        np.testing.assert_allclose(got[name], values, rtol=0, atol=1e-13, err_msg=name)
    assert "noise_mask" not in want and set(got) - set(want) == {"noise_mask", "noise"}


def test_excluded_types_have_neither_energies_nor_forces():
    section = json.loads((folder("dens") / "model.json").read_text()) | {"atom_exclude_types": [1]}
    pot = from_weights(section, stored("dens", "weights"))
    ref = stored("dens", "ref")
    out = pot.evaluate(ref["cluster.coord"], ref["cluster.atype"], atomic=True)
    silent = ref["cluster.atype"] == 1
    assert not out["force"][0, silent].any() and not out["atom_energy"][0, silent].any()
    assert out["force"][0, ~silent].any() and out["atom_energy"][0, ~silent].any()


def test_what_follows_from_derivatives_is_refused():
    pot = potential("dens", "corrected")
    frames, _ = frames_of(pot, "dens")
    batch, _ = pack(frames, choose_layout(frames, 1))
    with pytest.raises(ModelError, match="trained with the loss dens and gives its forces directly"):
        atomic_outputs(pot.model, pot.variables, batch_geometry(batch), batch)
    with pytest.raises(ModelError, match="hessian: this model was trained with the loss dens"):
        predict(pot.model, pot.variables, batch, hessian=12)


def section(**descriptor) -> dict:
    """A very small model."""
    own = {"sel": 20, "rcut": 3.0, "channels": 4, "n_radial": 3, "lmax": 1, "n_blocks": 1, "so2_layers": 1}
    return {"type": "dpa4", "type_map": ["O", "H"], "descriptor": own | descriptor, "fitting_net": {"neuron": [4]}}


def test_a_model_has_heads_where_its_loss_trains_them():
    raw = {"model": section(), "loss": {"type": "dens"}}
    assert model_of(raw).direct_forces and not model_of(raw | {"loss": {"type": "ener"}}).direct_forces
    plain, direct = (jax.eval_shape(lambda c=c: init_variables(build_model(c))) for c in (
        parse_model(raw["model"]), model_of(raw),
    ))  # fmt: skip
    assert set(direct["params"]) - set(plain["params"]) == {"dens_fitting_net"}
    assert set(direct["stats"]) - set(plain["stats"]) == {"dens_fitting_net", "dens_force_rmsd"}
    heads = direct["params"]["dens_fitting_net"]
    assert heads["force_embedding"]["proj"]["weight"].shape == (2, 1, 4)
    assert heads["direct_force_head"]["proj"]["weight"].shape == (2, 4, 1)
    assert heads["denoising_head"]["proj"]["weight"].shape == (2, 4, 1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (section(lmax=0), "model/descriptor/lmax: found 0, but forces .* are read from vectors"),
        (section(l_schedule=[2, 0]), r"model/descriptor/l_schedule: found .*2, 0.* are read from vectors"),
        (section() | {"bridging_method": "ZBL"}, "model/bridging_method: found 'ZBL', but the loss dens trains forces"),
    ],
)
def test_models_that_cannot_have_heads(model, message):
    with pytest.raises(ConfigError, match=message):
        with_direct_forces(parse_model(model))


def test_heads_are_read_from_nested_trees_and_from_dotted_names():
    variables = potential("dens", "reference").variables
    params, stats = (variables[kind]["dens_fitting_net"] for kind in ("params", "stats"))
    tree = direct_forces.write_tree(params, stats)
    leaves = jax.tree_util.tree_leaves_with_path(tree["@variables"])
    dotted = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
    dotted |= {"force_embedding.sqrt_2": np.sqrt(2.0), "direct_force_head.proj.expand_index": np.zeros(9, int)}
    for given in (tree, {**tree, "@variables": dotted}):
        jax.tree.map(np.testing.assert_array_equal, direct_forces.read_variables(given), (params, stats))


def test_weights_of_a_model_without_heads_keep_its_spread_out():
    """DeePMD-kit stores the spread of forces with every dpa4 model."""
    weights = {k: v for k, v in stored("dens", "weights").items() if "dens_fitting_net" not in k}
    pot = from_weights(json.loads((folder("dens") / "model.json").read_text()), weights)
    assert not pot.config.direct_forces and "dens_force_rmsd" not in pot.variables["stats"]
    assert replace(pot.config, direct_forces=True) != pot.config
