"""How models run: few compilations, any device, any file, the precision that was asked for."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dpjax
from dpjax.descriptors import members
from dpjax.errors import ModelError
from dpjax.interfaces.files import in_precision
from dpjax.models import RESOLVED, atomic_outputs, batch_geometry, predict
from tests.contracts.outputs import has_force, only


def arguments(*structures):
    """Arguments of ``evaluate`` for a list of frames."""
    first = structures[0]
    optional = {
        name: [getattr(s, name) for s in structures]
        for name in ("fparam", "aparam", "charge_spin", "spin")
        if getattr(first, name) is not None
    }
    cells = [s.cell for s in structures]
    return {"coord": [s.coord for s in structures], "atype": [s.atype for s in structures], "cell": cells, **optional}


@pytest.fixture(scope="module")
def placed(bench) -> list[dpjax.Potential]:
    """The potential on each device."""
    pot = bench.potential
    return [dpjax.Potential(pot.config, pot.variables, device=device) for device in jax.devices()[:2]]


def test_every_device_gives_the_same_bits(bench, placed):
    frames = bench.structure(), bench.structure("cluster")
    first, second = (pot.evaluate(**arguments(*frames), atomic=True) for pot in placed)
    assert len({d for pot in placed for x in jax.tree.leaves(pot._runner._placed) for d in x.devices()}) == 2
    for key in first:
        for a, b in zip(first[key], second[key], strict=True):
            np.testing.assert_array_equal(a, b)


def test_batches_of_one_layout_share_one_program(bench, placed):
    pot, s = placed[0], bench.structure()
    pot.evaluate(**arguments(s, bench.structure("cluster")), atomic=True)
    before = len(pot._programs)
    for seed in range(3):
        jitter = 1e-3 * np.random.default_rng(seed).normal(size=s.coord.shape)
        pot.evaluate(**arguments(s.replace(coord=s.coord + jitter), bench.structure("cluster")), atomic=True)
    assert len(pot._programs) == before


def test_evaluate_agrees_with_the_padded_program(bench, placed):
    """Another layout, other blocks: the same numbers."""
    s, output = bench.structure(), bench.output
    got, want = placed[0].evaluate(**arguments(s, bench.structure("cluster")), atomic=True), bench(s)[0]
    assert got.keys() >= want.keys() - {"counted"}
    assert got[output.total][0].shape == output.total_shape
    assert got[output.atomic][0].shape == (len(s.coord), *output.total_shape)
    np.testing.assert_allclose(
        got[output.atomic][0].reshape(want[output.atomic].shape), want[output.atomic], atol=1e-13
    )
    for key in want.keys() - {output.atomic, "counted"}:
        np.testing.assert_allclose(got[key][0], want[key], atol=1e-12)
    np.testing.assert_array_equal(got["mask"][0], ~np.isin(s.atype, bench.model.config.silent_types))


@only(case=lambda case: not case.storable)
def test_models_that_deepmd_kit_lacks_are_not_written(bench, tmp_path):
    with pytest.raises(ModelError, match="DeePMD-kit cannot evaluate"):
        dpjax.save(bench.potential, tmp_path / "model.dp")
    assert not any(tmp_path.iterdir())


@only(case=lambda case: case.storable)
@pytest.mark.parametrize("suffix", [".dp", ".yaml"])
def test_files_keep_every_bit(bench, tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    dpjax.save(bench.potential, path)
    loaded = dpjax.load(path)
    assert jax.tree.structure(loaded.variables) == jax.tree.structure(bench.variables)
    for a, b in zip(jax.tree.leaves(loaded.variables), jax.tree.leaves(bench.variables), strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(a, b)
    sections = [[*members(pot.config.descriptor), pot.config.fitting_net] for pot in (loaded, bench.potential)]
    for ours, theirs in zip(*sections, strict=True):
        kept = {"seed": None, "precision": "float64"}
        if ours is loaded.config.fitting_net:  # files say the types in the model
            kept |= {name: getattr(ours, name) for name in ("trainable", "sel_type") if hasattr(ours, name)}
        assert ours == dataclasses.replace(theirs, **kept)
    batch, _ = bench.pack([bench.structure()])
    for name in ("pair_exclude_types", "silent_types"):
        assert getattr(loaded.model.config, name) == getattr(bench.model.config, name)
    again = jax.device_get(bench.program(loaded.variables, batch))
    again.pop(RESOLVED, None)
    for key, value in again.items():
        np.testing.assert_array_equal(value, bench.run(batch)[key])


def test_float32_stays_close_and_says_so(bench, tmp_path):
    single = dpjax.Potential(*in_precision(bench.potential.config, bench.variables, "float32"))
    if bench.case.storable:
        dpjax.save(bench.potential, tmp_path / "model.dp")
        single = dpjax.load(tmp_path / "model.dp", dtype="float32")
    assert {x.dtype for x in jax.tree.leaves(single.variables["params"])} == {np.dtype(np.float32)}
    s = bench.structure()
    got, want, total = single.evaluate(**arguments(s), atomic=bool(bench.output.shape)), bench(s)[0], bench.output.total
    moved = "force" if has_force(bench.output) else bench.output.atomic
    assert got[total][0].dtype == got[moved][0].dtype == np.float64  # sums over atoms keep their precision
    np.testing.assert_allclose(got[total][0], want[total], rtol=1e-6, atol=1e-6 * len(s.coord))
    np.testing.assert_allclose(got[moved][0], want[moved], atol=3e-5)
    assert np.abs(got[moved][0] - want[moved]).max() > 1e-12


def test_the_core_refuses_to_become_float32_silently(bench):
    batch, _ = bench.pack([bench.structure()])
    with jax.enable_x64(False):
        for call in (
            lambda: predict(bench.model, bench.variables, batch),
            lambda: atomic_outputs(bench.model, bench.variables, batch_geometry(batch), batch),
            lambda: bench.model.apply(bench.variables, batch_geometry(jax.tree.map(jnp.asarray, batch)), batch),
        ):
            with pytest.raises(ModelError, match="jax_enable_x64"):
                call()


def test_the_functional_core_gives_the_same_values(bench):
    """``pot.model.apply(variables, geometry, batch)`` is the public core; it runs without blocks."""
    batch, _ = bench.pack([bench.structure(), bench.structure("cluster")])
    out = jax.jit(bench.model.apply)(bench.variables, batch_geometry(batch), batch)
    assert out.keys() == {bench.output.atomic}
    np.testing.assert_allclose(out[bench.output.atomic], bench.run(batch)[bench.output.atomic], atol=1e-12)
