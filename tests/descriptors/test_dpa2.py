"""dpa2: its layers against their definition written out place by place, what its options add, and its neighbour lists."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpjax.config import parse_model
from dpjax.descriptors import Neighborhood, build_descriptor
from dpjax.descriptors.dpa2.repformers import Repformers
from dpjax.descriptors.neighborhood import Listing
from dpjax.errors import ConfigError, ModelError
from dpjax.interop.conventions import check_conventions
from dpjax.training.fresh import trainable_labels
from tests.contracts.cases import model
from tests.descriptors.places import switch

RCUT, NSEL, G1, G2, AXIS, HEADS, HIDDEN = 2.6, 7, 4, 3, 2, 2, 3
TYPES = np.array([0, 1, 1, 0, 1], np.int32)
COUNT = np.array([4, 3, 6, 0, 1])
ONE_LAYER = {"nlayers": 1}
THREE_BODY = {"use_three_body": True, "three_body_neuron": [3], "three_body_rcut": 2.0, "three_body_sel": 5}


def dpa2(repinit: dict | None = None, repformer: dict | None = None, **options) -> dict:
    """A section of the input."""
    first = {
        "rcut": 3.0,
        "rcut_smth": 1.5,
        "nsel": 9,
        "neuron": [2, 4],
        "axis_neuron": 2,
        "tebd_dim": 2,
        "set_davg_zero": False,
    }
    layers = {
        "rcut": RCUT,
        "rcut_smth": 1.2,
        "nsel": NSEL,
        "nlayers": 2,
        "g1_dim": G1,
        "g2_dim": G2,
        "axis_neuron": AXIS,
    }
    layers |= {"attn1_hidden": HIDDEN, "attn1_nhead": HEADS, "attn2_hidden": HIDDEN, "attn2_nhead": HEADS}
    parts = {"repinit": first | (repinit or {}), "repformer": layers | (repformer or {})}
    return model({"type": "dpa2", **parts, "seed": 1} | options)


def atoms(width: int = 6, seed: int = 0, unused: float = 1.0) -> Neighborhood:
    """Five atoms with none to six neighbours, nearer than the cut-off of the layers; ``unused`` scales what empty slots hold."""
    rng = np.random.default_rng(seed)
    disp = rng.normal(size=(5, 6, 3))
    disp *= rng.uniform(0.8, 2.5, (5, 6, 1)) / np.linalg.norm(disp, axis=-1, keepdims=True)
    index = rng.integers(0, 5, (5, 6))
    there = np.arange(6) < COUNT[:, None]
    disp, index = np.where(there[..., None], disp, unused * disp), np.where(there, index, np.roll(index, 1))
    extra = ((0, 0), (0, width - 6))
    disp, index = np.pad(disp, (*extra, (0, 0)), constant_values=unused), np.pad(index, extra, constant_values=2)
    return Neighborhood(jnp.asarray(disp), COUNT[:, None], TYPES, TYPES[index], index=jnp.asarray(index), nbrs=(width,))


def built(section: dict) -> tuple:
    """A descriptor and its variables with statistics that are not trivial."""
    descriptor = build_descriptor(parse_model(section))
    variables = descriptor.init(jax.random.key(0), method="init_parameters")
    rng = np.random.default_rng(1)
    radial = np.array([1.0, 0.0, 0.0, 0.0])  # the only column whose mean does not turn with the frame
    stats = {
        name: {"davg": radial * rng.normal(size=(2, 1)) / 5, "dstd": rng.uniform(0.4, 1.0, (2, 1)) * np.ones(4)}
        for name in variables["stats"]
    }
    return descriptor, {"params": variables["params"], "stats": stats}


def soft_max(scores):
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def places(cfg, stats, view, i):
    """Atoms, weights, rows of the environment and displacements of all ``nsel`` places of an atom; -1 in empty ones."""
    n = COUNT[i]
    order = np.argsort(np.linalg.norm(view.disp[i, :n], axis=1))
    disp = np.zeros((NSEL, 3))
    disp[:n] = view.disp[i, :n][order]
    index = np.full(NSEL, -1)
    index[:n] = np.asarray(view.index)[i, :n][order]
    dist = np.linalg.norm(disp, axis=1)
    weight = np.where(index >= 0, switch(dist, cfg.rcut_smth, cfg.rcut), 0.0)
    safe = np.where(index >= 0, dist, 1.0)
    raw = weight[:, None] * np.concatenate([1 / safe[:, None], disp / safe[:, None] ** 2], axis=1)
    davg, dstd = (stats[name][TYPES[i]] for name in ("davg", "dstd"))
    return index, weight, (raw - davg) / dstd, disp


def layer_written_out(cfg, params, last, g1, g2, h2, index, weight):
    """The definition for all places of all atoms, empty ones included, which soft-max and means count."""
    own, smooth = cfg.layers, cfg.smooth

    def linear(name, x, part=params):
        return x @ part[name]["matrix"] + part[name].get("bias", 0.0)

    there = (index >= 0).astype(float)
    factor = weight if smooth else there
    number = np.full(5, float(NSEL)) if smooth else there.sum(1) + 1e-4
    root = (np.sqrt(NSEL) if smooth else np.sqrt(there.sum(1)) + 1e-4) if own.use_sqrt_nnei else number
    near = g1[index] * factor[..., None]

    def invariant(x):
        moment = np.einsum("nkx,nkm->nxm", h2, x) / np.reshape(root, (-1, 1, 1))
        return np.einsum("nxa,nxm->nam", moment[..., :AXIS], moment).reshape(5, -1) / 3

    new1, joint = [], []
    (new1 if own.g1_out_mlp else joint).append(np.tanh(linear("g1_self_mlp", g1)) if own.g1_out_mlp else g1)
    if own.g1_out_conv:
        new1.append((linear("proj_g1g2", g2) * near).sum(1) / number[:, None])
    else:
        joint.append((g2 * linear("proj_g1g2", near)).sum(1) / number[:, None])
    joint += [invariant(g2 * factor[..., None]), invariant(near)]
    new1.append(np.tanh(linear("linear1", np.concatenate(joint, axis=1))))
    part = params["loc_attn"]
    query = linear("mapq", g1, part).reshape(5, HIDDEN, HEADS)
    both = linear("mapkv", g1[index], part).reshape(5, NSEL, HIDDEN + G1, HEADS)
    scores = np.einsum("ndh,nkdh->nhk", query, both[:, :, :HIDDEN]) / np.sqrt(HIDDEN)
    scores = (scores + 20) * weight[:, None] - 20 if smooth else np.where(there[:, None] > 0, scores, -1e300)
    shares = soft_max(scores) * factor[:, None]
    new1.append(linear("head_map", np.einsum("nhk,nkih->nhi", shares, both[:, :, HIDDEN:]).reshape(5, -1), part))
    new2, newh = [], []
    if not last:
        part = params["attn2"]
        new2 = [np.tanh(linear("linear2", g2)), linear("proj_g1g1g2", g1[:, None] * near)]
        qk = linear("mapqk", g2, part).reshape(5, NSEL, HIDDEN, 2 * HEADS)
        scores = np.einsum("nidh,njdh->nhij", qk[..., :HEADS], qk[..., HEADS:]) / np.sqrt(HIDDEN)
        cosine = np.einsum("nix,njx->nij", h2, h2)
        scores = scores * cosine[:, None] if own.attn2_has_gate else scores
        pair = weight[:, None, :, None] * weight[:, None, None]
        scores = (scores + 20) * pair - 20 if smooth else np.where(there[:, None, None] > 0, scores, -1e300)
        shares = soft_max(scores) * (pair if smooth else there[:, None, :, None] * there[:, None, None])
        shares = shares * cosine[:, None] / np.sqrt(3)
        values = linear("mapv", g2, part).reshape(5, NSEL, G2, HEADS)
        x = linear("head_map", np.einsum("nhij,njah->niah", shares, values).reshape(5, NSEL, -1), part)
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        new2.append(x * part["norm"]["matrix"] + part["norm"]["bias"])
        if own.update_h2:
            newh.append(np.einsum("nhij,njx,h->nix", shares, h2, part["direction_map"]["matrix"][:, 0]))

    def joined(name, old, new):
        if own.update_style == "res_residual":
            return old + sum(params[f"{name}_residual_{i}"] * x for i, x in enumerate(new))
        if own.update_style == "res_incr":
            return old + sum(new) / np.sqrt(max(len(new), 1))
        return (old + sum(new)) / np.sqrt(len(new) + 1)

    return joined("g1", g1, new1), (g2 if last else joined("g2", g2, new2)), (h2 if last else joined("h2", h2, newh))


FORMS = {
    "smooth": (
        {
            "nlayers": 3,
            "update_h2": True,
            "attn2_has_gate": True,
            "update_style": "res_residual",
            "update_residual": 0.5,
        },
        {},
    ),
    "not smooth": (
        {
            "direct_dist": True,
            "use_sqrt_nnei": False,
            "g1_out_conv": False,
            "g1_out_mlp": False,
            "update_style": "res_incr",
        },
        {"smooth": False},
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_layers_meet_their_definition(name):
    layers, options = FORMS[name]
    descriptor, variables = built(dpa2(repformer=layers, **options))
    inside = {kind: jax.tree.map(np.asarray, variables[kind]["repformers"]) for kind in ("params", "stats")}
    view, start = atoms(), np.random.default_rng(2).normal(size=(5, G1))
    module: Repformers = descriptor.bind(variables).repformers.clone(parent=None)
    got = jax.jit(module.apply)(inside, view, start)

    cfg, params = module.config, inside["params"]
    index, weight, rows, disp = (
        np.stack(x) for x in zip(*(places(cfg, inside["stats"], view, i) for i in range(5)), strict=True)
    )
    radial, h2 = rows[..., :1], rows[..., 1:]
    if cfg.layers.direct_dist:
        radial, h2 = np.linalg.norm(disp, axis=-1, keepdims=True) / RCUT, disp / RCUT
    state = np.tanh(start), np.tanh(radial @ params["g2_embd"]["matrix"] + params["g2_embd"]["bias"]), h2
    for i in range(cfg.layers.nlayers):
        state = layer_written_out(cfg, params[f"layers_{i}"], i == cfg.layers.nlayers - 1, *state, index, weight)
    np.testing.assert_allclose(got.values, state[0], rtol=1e-11, atol=1e-13)
    assert got.frame.shape == (5, G2, 3)


def test_empty_slots_may_hold_anything():
    descriptor, variables = built(dpa2(THREE_BODY, ONE_LAYER))
    run = jax.jit(descriptor.apply)
    plain, other = run(variables, atoms(width=8)), run(variables, atoms(width=8, unused=-37.0))
    np.testing.assert_allclose(plain.values, other.values, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(plain.frame, other.frame, rtol=1e-12, atol=1e-14)


def test_neighbours_beyond_the_cutoff_leave_empty_places_in_a_hybrid_too():
    descriptor, variables = built(dpa2(repformer=ONE_LAYER))
    run, view = jax.jit(descriptor.apply), atoms()
    last = view.disp[2, 5] / jnp.linalg.norm(view.disp[2, 5])
    far = view.replace(disp=view.disp.at[2, 5].set(3.2 * last), shared=Listing(4.0, 12))
    without = far.replace(count=view.count - (np.arange(5) == 2)[:, None])
    assert view.count[2] == 6
    np.testing.assert_allclose(run(variables, far).values, run(variables, without).values, rtol=1e-12, atol=1e-14)


def test_nothing_jumps_at_a_cutoff_and_derivatives_are_finite():
    """With means of zero, as otherwise empty places have a type in repinit."""
    descriptor, variables = built(dpa2(THREE_BODY, ONE_LAYER))
    stats = {name: part | {"davg": 0.0 * part["davg"]} for name, part in variables["stats"].items()}
    view = atoms()
    along = view.disp[2, 0] / jnp.linalg.norm(view.disp[2, 0])

    @jax.jit
    def values(distance):
        disp = view.disp.at[2, 0].set(distance * along)
        run = lambda disp: descriptor.apply(variables | {"stats": stats}, view.replace(disp=disp)).values  # noqa: E731
        out, back = jax.vjp(run, disp)
        return out, back(out)[0]

    for rcut in (3.0, RCUT, 2.0):  # of repinit, of the layers, of the angles
        below, above, nearer = (values(rcut + shift)[0] for shift in (-1e-6, 1e-6, -0.3))
        np.testing.assert_allclose(below, above, rtol=0, atol=1e-6)
        assert np.abs(nearer - above).max() > 1e-4
    gradient = values(2.2)[1]
    assert np.isfinite(gradient).all()
    assert not np.any(gradient[3])  # an atom without neighbours
    assert np.abs(gradient[1]).max() > 0


def keys(section: dict) -> set[str]:
    """Paths of the parameters of a descriptor."""
    descriptor = build_descriptor(parse_model(section))
    params = jax.eval_shape(lambda: descriptor.init(jax.random.key(0), method="init_parameters"))["params"]
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {"/".join(key.key for key in path) + f" {leaf.shape}" for path, leaf in leaves}


@pytest.mark.parametrize(
    ("options", "gone", "new"),
    [
        ({"update_g1_has_attn": False}, "loc_attn/", None),
        ({"update_g2_has_g1g1": False}, "proj_g1g1g2/", None),
        ({"update_g2_has_attn": False}, "attn2/", None),
        ({"update_g2_has_attn": False, "update_h2": True}, "attn2/mapv", "attn2/direction_map/matrix (2, 1)"),
        ({"g1_out_mlp": False}, "g1_self_mlp/", f"linear1/matrix ({G1 + AXIS * (G1 + G2)}, {G1})"),
        ({"g1_out_conv": False}, f"proj_g1g2/matrix ({G2}, {G1})", f"linear1/matrix ({G2 + AXIS * (G1 + G2)}, {G1})"),
        ({"update_g1_has_grrg": False}, None, f"linear1/matrix ({AXIS * G1}, {G1})"),
        ({"update_style": "res_residual"}, None, f"layers_0/g2_residual_2 ({G2},)"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_switches_take_parts_away(options, gone, new):
    before, after = keys(dpa2()), keys(dpa2(repformer=options))
    if gone:
        assert any(gone in key for key in before)
        assert not any(gone in key for key in after)
    if new:
        assert any(new in key for key in after - before)


def test_parts_around_the_layers_appear_where_they_are_needed():
    plain = keys(dpa2())
    assert f"g1_shape_tranform/matrix (8, {G1})" in plain
    assert not any(
        "layers_1/attn2" in key or "layers_1/linear2" in key for key in plain
    )  # the last layer leaves pairs alone
    assert not any("shape" in key for key in keys(dpa2({"axis_neuron": 1})))  # repinit is as long as g1 already
    more = keys(dpa2(THREE_BODY, add_tebd_to_repinit_out=True))
    assert f"g1_shape_tranform/matrix (11, {G1})" in more
    assert f"tebd_transform/matrix (2, {G1})" in more


def test_training_leaves_the_normalisation_as_it_is_if_asked():
    config = parse_model(dpa2(repformer={"trainable_ln": False}))
    descriptor = build_descriptor(config)
    params = jax.eval_shape(lambda: descriptor.init(jax.random.key(0), method="init_parameters"))["params"]
    labels = trainable_labels(config, {"descriptor": params, "fitting_net": {}})["descriptor"]
    attention = labels["repformers"]["layers_0"]["attn2"]
    assert not any(jax.tree.leaves(attention["norm"]))
    assert all(jax.tree.leaves(attention["mapqk"]))


def test_types_of_empty_places_are_not_written_where_they_matter():
    config = parse_model(dpa2())
    _, variables = built(dpa2())
    with pytest.raises(ModelError, match="model/descriptor/repinit: DeePMD-kit would give other energies"):
        check_conventions(config, variables["stats"])
    check_conventions(dataclasses.replace(config, conventions="reference"), variables["stats"])
    check_conventions(parse_model(dpa2({"tebd_input_mode": "strip"})), variables["stats"])


def test_a_cutoff_that_is_not_smaller_is_refused():
    with pytest.raises(ConfigError, match="repformer/rcut"):
        parse_model(dpa2(repformer={"rcut": 3.5}))
