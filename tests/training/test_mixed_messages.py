"""Molecules and periodic boxes of all sizes in one batch, for descriptors that pass messages: as one by one, in few programs."""

from __future__ import annotations

import re
from functools import partial

import jax
import numpy as np
import pytest

import dpjax
from dpjax import losses
from dpjax.config import load
from dpjax.models import predict
from dpjax.training.lcurve import read_lcurve
from dpjax.training.setup import TrainingSetup, prepare
from dpjax.training.step import LabelledBatch, real_rows
from tests.contracts.bench import QUICK
from tests.contracts.cases import dpa2, dpa3
from tests.training import tiny

DESCRIPTORS = {
    "dpa2": dpa2(),
    "dpa3": dpa3(),
    "dpa3-dynamic": dpa3({"use_dynamic_sel": True, "sel_reduce_factor": 4.0}),
}
OFTEN = "dpa3-dynamic"
TERMS = {"e": "energy", "f": "force", "v": "virial"}
THIN = np.array([[2.7, 0.0, 0.0], [0.3, 3.1, 0.0], [-0.2, 0.4, 2.9]])  # its atoms are within the cut-off of themselves


@pytest.fixture(scope="module")
def systems(tmp_path_factory) -> list:
    """Molecules of 3 and 7 atoms in vacuum, boxes of 9 and of 2 atoms in triclinic cells below twice the cut-off."""
    folder = tmp_path_factory.mktemp("mixed")
    made = [molecule(folder / f"molecule{n}", n) for n in (3, 7)]
    made.append(tiny.system(folder / "box", n_atom=9, n_frame=3, seed=2))
    types = np.array([0, 1])
    values = tiny.arrays(types, 3, seed=4)
    place = np.array([[0.1, 0.2, 0.3], [1.4, 1.6, 1.5]]) + np.random.default_rng(4).uniform(-0.1, 0.1, (3, 2, 3))
    values |= {"coord": place.reshape(3, -1), "box": np.tile(THIN.ravel(), (3, 1))}
    return [*made, tiny.write(folder / "thin", types, [values])]


def molecule(folder, n_atom: int):
    """An open system of three frames; its labels have virials, as a batch has them of all frames or of none."""
    types = np.where(np.arange(n_atom) % 3 == 1, 0, 1)
    values = tiny.arrays(types, 3, seed=n_atom)
    del values["box"]
    return tiny.write(folder, types, [values], nopbc=True)


def config(systems, kind: str, edits: dict | None = None) -> dict:
    batches = {"model/descriptor": DESCRIPTORS[kind], "training/training_data/batch_size": "mixed:5"}
    return tiny.config(systems, batches | (edits or {}))


class Trainable:
    """A training, its predictions in compiled form, and its loss apart by terms."""

    def __init__(self, setup: TrainingSetup):
        self.setup, self.source = setup, setup.training.source
        self._predict = jax.jit(partial(predict, setup.model), compiler_options=QUICK)
        zero = {f"{end}_pref_{x}": 0.0 for end in ("start", "limit") for x in TERMS}
        self._losses = {
            x: losses.from_config({"type": "ener"} | zero | {f"start_pref_{x}": 2.0, f"limit_pref_{x}": 1.0})
            for x in TERMS
        }

    def __call__(self, data: LabelledBatch) -> tuple[list[dict[str, np.ndarray]], dict[str, float]]:
        """Predictions of each frame, its atoms in the order of the batch, and the terms of the loss."""
        out = jax.device_get(self._predict(self.setup.variables, data.batch))
        rows = real_rows(data.batch, lambda tree: tree)._asdict()
        terms = {
            x: float(loss(out, data.label, learning_rate=1e-3, find=data.find, **rows)[0])
            for x, loss in self._losses.items()
        }
        frames = []
        for i, natoms in enumerate(data.batch.natoms):
            own = (data.batch.frame == i) & (data.batch.atype >= 0)
            assert natoms == own.sum()
            frames.append({"energy": out["energy"][i], "force": out["force"][own], "virial": out["virial"][i]})
        return frames, terms


@pytest.mark.slow
@pytest.mark.parametrize("kind", DESCRIPTORS)
def test_a_mixed_batch_is_its_frames_one_by_one(kind, systems):
    trainable = Trainable(prepare(load(config(systems, kind))))
    source = trainable.source
    parts = [(1, [2]), (3, [0, 2]), (0, [1]), (2, [1])]
    singly = [(system, [frame]) for system, frames in parts for frame in frames]
    together, terms = trainable(source.batch(parts))
    layout = source.layout([(2, [1])], source.extent, 1)  # of the largest: all alone run in one program
    alone = [trainable(source.packed([part], layout)) for part in singly]
    natoms = np.array([source.systems[system].n_atom for system, _ in singly])
    assert natoms.tolist() == [7, 2, 2, 3, 9]
    for own, ([want], _) in zip(together, alone, strict=True):
        for name in TERMS.values():
            assert np.abs(want[name]).max() > 1e-6
            np.testing.assert_allclose(own[name], want[name], rtol=0, atol=1e-10, err_msg=name)
    for x, weights in (("e", np.ones(5)), ("v", np.ones(5)), ("f", natoms)):  # a mean over frames, or over atoms
        want = np.average([own[x] for _, own in alone], weights=weights)
        np.testing.assert_allclose(terms[x], want, rtol=1e-10, err_msg=x)


@pytest.mark.parametrize(
    "kind", [kind if kind == OFTEN else pytest.param(kind, marks=pytest.mark.slow) for kind in DESCRIPTORS]
)
def test_few_programs_train_on_all_of_them(kind, systems, tmp_path, caplog):
    edits = tiny.ENERGY_ONLY | {"training/numb_steps": 12}
    with caplog.at_level("INFO", "dpjax"):
        result = dpjax.train(config(systems, kind, edits), tmp_path)
    assert result.programs <= 2
    assert re.search(rf"finished 12 steps in .* s, {result.programs} compiled programs", caplog.text)
    rows = read_lcurve(tmp_path / "lcurve.out")
    assert np.all(np.isfinite(rows["rmse_e_trn"]) & (rows["rmse_e_trn"] > 0))
