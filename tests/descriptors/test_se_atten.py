"""se_atten against its definition written out place by place: all ``sel`` places attend to each other, empty ones included."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial.legendre import Legendre

import dpjax
from dpjax.config import parse_model
from dpjax.descriptors import build_descriptor
from dpjax.descriptors.se_atten import is_smooth, is_stripped
from dpjax.errors import ModelError
from dpjax.interop import read_model, write_model
from dpjax.training.fresh import trainable_labels
from tests.contracts.cases import model, potential, se_atten
from tests.descriptors.places import COUNT, SEL, WIDTH, compare, embed, seen, slots, switch


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def attention(cfg, params, x, real, weight, direction):
    """Layers of attention among all places; ``real`` says which hold a neighbour."""
    for i in range(cfg.attn_layer):
        layer = params["attention"][f"layers_{i}"]
        q, k, v = np.split(x @ layer["in_proj"]["matrix"] + layer["in_proj"]["bias"], 3, axis=1)
        q, k, v = map(unit, (q, k, v)) if cfg.normalize else (q, k, v)
        given = cfg.temperature
        score = q @ k.T * ((cfg.attn * cfg.scaling_factor) ** -0.5 if given is None else given)
        if is_smooth(cfg):
            score = (score + 20.0) * np.outer(weight, weight) - 20.0
        else:
            score = np.where(real[None], score, -np.inf) if real.any() else np.zeros_like(score)
        p = np.exp(score - score.max(axis=1, keepdims=True))
        p = p / p.sum(axis=1, keepdims=True) * real[:, None]
        p = p * np.outer(weight, weight) if is_smooth(cfg) else p
        p = p * (direction @ direction.T) if cfg.attn_dotr else p
        p = p * (1 - np.eye(len(p))) if cfg.attn_mask else p
        x = x + p @ v @ layer["out_proj"]["matrix"] + layer["out_proj"]["bias"]
        x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + (cfg.ln_eps or 1e-5))
        x = x * layer["norm"]["matrix"] + layer["norm"]["bias"]
    return x


def beyond_degree_one(cfg, params, g, length, ratio, direction):
    """What degrees 2 and above add to the product of the moments: a Legendre polynomial of the angle for each pair of places."""
    cosine, total = np.clip(direction @ direction.T, -1.0, 1.0), 0.0
    for degree in range(2, (cfg.lmax or 1) + 1):
        weighted = (length * ratio**degree)[:, None] * g / len(g)
        gain = params["degree_gain"][degree - 2] ** 2
        total = total + gain * weighted.T @ Legendre.basis(degree)(cosine) @ weighted[:, : cfg.axis_neuron]
    return total


def written_out(cfg, variables, vectors, centre, disp, kinds, pair_exclude, empty_kind):
    """The definition: a row, a type and a weight for each of ``sel`` places."""
    variables = jax.tree.map(np.asarray, variables)
    params, stats = variables["params"], variables["stats"]
    sel = cfg.sel if isinstance(cfg.sel, int) else sum(cfg.sel)
    dist = np.linalg.norm(disp, axis=1)
    order = [k for k in np.argsort(dist) if dist[k] < cfg.rcut][:sel]
    order = [k for k in order if {centre, kinds[k]} not in [set(p) for p in pair_exclude]]
    rows = np.repeat(-stats["davg"][[centre]] / stats["dstd"][[centre]], sel, axis=0)
    types, weight, real = np.full(sel, empty_kind), np.zeros(sel), np.zeros(sel, bool)
    length, ratio, direction = np.zeros(sel), np.zeros(sel), np.zeros((sel, 3))
    for place, k in enumerate(order):
        if {centre, kinds[k]} in [set(p) for p in cfg.exclude_types]:
            rows[place] = 0.0
            continue
        r, w = dist[k] + cfg.env_protection, switch(dist[k], cfg.rcut_smth, cfg.rcut)
        rows[place] = (w / r * np.array([1.0, *(disp[k] / r)]) - stats["davg"][centre]) / stats["dstd"][centre]
        types[place], weight[place], real[place] = kinds[k], w, True
        length[place], ratio[place] = w / r / stats["dstd"][centre, 0], dist[k] / r
        direction[place] = disp[k] / dist[k]
    pair = vectors[types]
    if not cfg.type_one_side:
        pair = np.concatenate([pair, np.tile(vectors[centre], (sel, 1))], axis=1)
    networks = params["embedding"]
    if is_stripped(cfg):
        factor = embed(networks["type_network"], pair) * (weight[:, None] if is_smooth(cfg) else 1.0)
        g = embed(networks["network"], rows[:, :1]) * (1.0 + factor)
    else:
        g = embed(networks["network"], np.concatenate([rows[:, :1], pair], axis=1))
    g = attention(cfg, params, g, real, weight, unit(rows[:, 1:]))
    moments = rows.T @ g / sel
    out = moments.T @ moments[:, : cfg.axis_neuron]
    out = (out + beyond_degree_one(cfg, params, g, length, ratio, direction)).reshape(-1)
    return np.concatenate([out, vectors[centre]]) if cfg.concat_output_tebd else out


VARIANTS = {
    "concat": ({}, {}),
    "no attention": ({"attn_layer": 0}, {}),
    "skip from the input": ({"neuron": [14, 14], "tebd_dim": 3, "resnet_dt": True}, {}),
    "one side": ({"type_one_side": True, "neuron": [6, 12], "tebd_dim": 2}, {}),
    "truncated": ({"sel": [3, 2]}, {}),
    "protected": ({"env_protection": 0.2, "concat_output_tebd": False, "ln_eps": 1e-2}, {}),
    "not smooth": ({"smooth_type_embedding": False, "exclude_types": [[0, 1]]}, {}),
    "without angles": ({"attn_dotr": False, "scaling_factor": 3.0}, {}),
    "masked": ({"attn_mask": True, "attn_layer": 2}, {}),
    "masked, not smooth": ({"attn_mask": True, "smooth_type_embedding": False, "exclude_types": [[0, 1]]}, {}),
    "lengths count": ({"normalize": False, "temperature": 0.7}, {}),
    "great scores": ({"temperature": 900.0}, {}),
    "strip": ({"tebd_input_mode": "strip", "use_tebd_bias": True}, {}),
    "strip, one side": ({"stripped_type_embedding": True, "type_one_side": True, "attn_layer": 0}, {}),
    "strip, not smooth": ({"tebd_input_mode": "strip", "smooth_type_embedding": False, "attn_layer": 0}, {}),
    "version 2": ({"type": "se_atten_v2", "exclude_types": [[0, 1]]}, {}),
    "degree 1": ({"lmax": 1}, {}),
    "degree 2": ({"lmax": 2, "attn_layer": 0}, {}),
    "degree 3": ({"type": "se_atten_v2", "lmax": 3, "exclude_types": [[0, 1]]}, {"pair_exclude_types": [[1, 1]]}),
    "degree 4": ({"lmax": 4, "env_protection": 0.2}, {}),
    "excluded by the descriptor": ({"exclude_types": [[0, 1]]}, {}),
    "excluded by the model": ({}, {"pair_exclude_types": [[0, 1]]}),
}


@pytest.mark.parametrize("empty_kind", [None, 1], ids=["corrected", "reference"])
@pytest.mark.parametrize("name", VARIANTS)
def test_the_definition_is_met(name, empty_kind):
    options, whole = VARIANTS[name]
    section = model(se_atten(**({"sel": SEL} | options)))
    got = compare(written_out, section, whole, empty_kind, rtol=1e-10, atol=1e-12)
    assert got.frame.shape == (5, section["descriptor"]["neuron"][-1], 3)


def test_higher_degrees_leave_the_frame_alone_and_add_what_their_weights_say():
    one, four = (build_descriptor(parse_model(model(se_atten(sel=SEL, lmax=lmax)))) for lmax in (1, 4))
    variables = four.init(jax.random.key(0), method="init_parameters")
    disp, kinds = slots()
    want = one.apply(variables, seen(jnp.asarray(disp), kinds))
    for gain, alike in ((np.zeros(3), True), (np.array([0.0, 0.0, 1.0]), False)):
        given = variables | {"params": variables["params"] | {"degree_gain": gain}}
        got = four.apply(given, seen(jnp.asarray(disp), kinds))
        np.testing.assert_array_equal(got.frame, want.frame)
        assert np.allclose(got.values, want.values, rtol=1e-12, atol=1e-14) == alike


@pytest.mark.parametrize(
    "options", [{}, {"smooth_type_embedding": False}, pytest.param({"lmax": 4}, marks=pytest.mark.slow)], ids=str
)
def test_unused_slots_have_no_effect_and_finite_derivatives(options):
    config = parse_model(model(se_atten(sel=SEL, **options)))
    descriptor = build_descriptor(config)
    variables = descriptor.init(jax.random.key(0), method="init_parameters")
    disp, kinds = slots()

    def total(disp):
        return jnp.sum(jnp.sin(descriptor.apply(variables, seen(disp, kinds)).values))

    both = jax.jit(jax.value_and_grad(lambda d: jnp.sum(jax.grad(total)(d) ** 2) + total(d)))
    unused = np.arange(WIDTH)[None] >= COUNT[:, None]
    value, slope = both(jnp.asarray(disp))
    assert np.all(np.isfinite(slope)) and not np.any(np.asarray(slope)[unused])
    for rubbish in (0.0, 1e3):
        other, _ = both(jnp.asarray(np.where(unused[..., None], rubbish, disp)))
        np.testing.assert_allclose(other, value, rtol=1e-12)


# --- models ------------------------------------------------------------------------------------------------------------------


def with_mean(**options):
    """A potential whose davg is not zero."""
    return potential(model(se_atten(set_davg_zero=False, **options)))


def test_a_model_that_deepmd_kit_would_evaluate_differently_is_not_saved(tmp_path):
    with pytest.raises(ModelError, match=r"model/descriptor: DeePMD-kit would give other energies.*set_davg_zero true"):
        dpjax.save(with_mean(), tmp_path / "m.dp")
    reference = with_mean()
    dpjax.save(dpjax.Potential(reference.config, reference.variables, conventions="reference"), tmp_path / "r.dp")
    for i, same in enumerate([with_mean(type="se_atten_v2"), potential(model(se_atten(set_davg_zero=True)))]):
        dpjax.save(same, tmp_path / f"{i}.dp")


@pytest.mark.parametrize(
    "case",
    [pytest.param("zero mean", marks=pytest.mark.slow), pytest.param("version 2", marks=pytest.mark.slow), "mean"],
)
def test_conventions_differ_only_where_saving_is_refused(case):
    pot = {
        "zero mean": lambda: potential(model(se_atten(set_davg_zero=True, attn_layer=2))),
        "version 2": lambda: with_mean(type="se_atten_v2", attn_layer=2),
        "mean": with_mean,
    }[case]()
    rng = np.random.default_rng(0)
    coord, atype = rng.uniform(0, 3, (1, 6, 3)), np.array([1, 0, 1, 0, 0, 1])
    ours, theirs = (
        dpjax.Potential(pot.config, pot.variables, conventions=which).evaluate(coord, atype)["energy"]
        for which in ("corrected", "reference")
    )
    assert (ours == theirs).all() == (case != "mean")


def test_normalisation_layers_can_be_left_out_of_training():
    pot = potential(model(se_atten(trainable_ln=False)))
    labels = trainable_labels(pot.config, pot.variables["params"])["descriptor"]
    assert set(labels["attention"]["layers_0"]["norm"].values()) == {False}
    assert set(labels["attention"]["layers_0"]["in_proj"].values()) == {True}


def test_a_mask_is_read_but_not_written_for_deepmd_kit():
    """Only DeePMD-kit's TensorFlow backend has it; without attention it has nothing to say."""
    pot = potential(model(se_atten()))
    tree = write_model(pot.config, pot.variables)
    tree["model"]["descriptor"]["attn_mask"] = True
    config, variables = read_model(tree)
    assert config.descriptor.attn_mask
    with pytest.raises(ModelError, match="model/descriptor/attn_mask: found true"):
        write_model(config, variables)
    without = potential(model(se_atten(attn_mask=True, attn_layer=0)))
    assert read_model(write_model(without.config, without.variables))[0].descriptor.attn_mask


def test_compressed_models_are_refused():
    pot = potential(model(se_atten()))
    tree = write_model(pot.config, pot.variables)
    tree["model"]["descriptor"]["compress"] = {}
    with pytest.raises(ModelError, match="descriptor/compress"):
        read_model(tree)


@pytest.mark.parametrize(
    "options", [{}, {"type": "se_atten_v2", "attn_layer": 0, "sel": [20, 28]}, {"lmax": 3}], ids=str
)
def test_settings_go_out_and_come_back(options):
    pot = potential(model(se_atten(**options)))
    config, variables = read_model(write_model(pot.config, pot.variables))
    spelt = {"precision": "default", "seed": pot.config.descriptor.seed}
    assert dataclasses.replace(config.descriptor, **spelt) == pot.config.descriptor
    assert jax.tree.structure(variables["params"]) == jax.tree.structure(pot.variables["params"])


def stored(**options) -> dict:
    """Tree of a descriptor."""
    pot = potential(model(se_atten(**options)))
    return write_model(pot.config, pot.variables)["model"]["descriptor"]


def test_degree_one_is_stored_as_before():
    for tree in (stored(), stored(lmax=1)):
        assert tree["@version"] == 2 and "lmax" not in tree and "degree_gain_raw" not in tree["@variables"]


def test_higher_degrees_are_stored_with_their_weights():
    for kind in ("se_atten", "se_atten_v2"):
        tree = stored(type=kind, lmax=4)
        assert tree["@version"] == 4 and tree["lmax"] == 4 and tree["@variables"]["degree_gain_raw"].shape == (3,)


def test_stored_weights_must_fit_to_the_degree():
    pot = potential(model(se_atten(lmax=3)))
    tree = write_model(pot.config, pot.variables)
    for wrong in (np.zeros(3), None):
        tree["model"]["descriptor"]["@variables"]["degree_gain_raw"] = wrong
        with pytest.raises(ModelError, match=r"descriptor/@variables/degree_gain_raw.*2 numbers"):
            read_model(tree)


def test_the_weight_of_a_degree_is_trained_with_the_descriptor():
    for trainable in (True, False):
        pot = potential(model(se_atten(lmax=2, trainable=trainable)))
        assert trainable_labels(pot.config, pot.variables["params"])["descriptor"]["degree_gain"] == trainable
