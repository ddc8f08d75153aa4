"""A training on HDF5 is one on directories; LMDB and extended XYZ train, leave out bad frames, and notice changes."""

from __future__ import annotations

import os

import h5py
import jax
import numpy as np
import pytest

from dpjax.config import load
from dpjax.errors import DataError
from dpjax.interfaces.train import train
from dpjax.training.setup import prepare
from tests.training import tiny

RULES = {**tiny.ENERGY_ONLY, "training/numb_steps": 3, "training/disp_freq": 1}


def to_hdf5(folder, file) -> str:
    """Copies a system directory into a group; returns its path as in ``systems``."""
    with h5py.File(file, "w") as h5:
        group = h5.create_group("water")
        group["type.raw"] = np.loadtxt(folder / "type.raw", dtype=int)
        group["type_map.raw"] = list(tiny.TYPE_MAP)
        for path in folder.glob("set.*/*.npy"):
            group[f"{path.parent.name}/{path.name}"] = np.load(path)
    return f"{file}#/water"


def atoms_of(folder, n_frame: int):
    """The frames of a system directory as ASE has them."""
    ase, single = pytest.importorskip("ase"), pytest.importorskip("ase.calculators.singlepoint")
    types = np.loadtxt(folder / "type.raw", dtype=int)
    names = [tiny.TYPE_MAP[t] for t in types]
    arrays = {name: np.load(folder / "set.000" / f"{name}.npy") for name in ("coord", "box", "energy", "force")}
    for i in range(n_frame):
        atoms = ase.Atoms(names, arrays["coord"][i].reshape(-1, 3), cell=arrays["box"][i].reshape(3, 3), pbc=True)
        forces = arrays["force"][i].reshape(-1, 3)
        atoms.calc = single.SinglePointCalculator(atoms, energy=arrays["energy"][i], forces=forces)
        yield atoms


def test_hdf5_gives_the_batches_and_statistics_of_the_directory(tmp_path):
    folder = tiny.system(tmp_path / "s")
    inputs = [[folder], [to_hdf5(folder, tmp_path / "s.h5")]]
    one, two = (prepare(load(tiny.config(systems, RULES))) for systems in inputs)
    parts = one.training.sampler.next_batch()
    assert [p.tolist() for _, p in parts] == [p.tolist() for _, p in two.training.sampler.next_batch()]
    jax.tree.map(np.testing.assert_array_equal, one.training.source.batch(parts), two.training.source.batch(parts))
    jax.tree.map(np.testing.assert_array_equal, one.variables["stats"], two.variables["stats"])


@pytest.mark.slow
def test_extended_xyz_of_two_sizes_trains(tmp_path):
    io = pytest.importorskip("ase.io")
    frames = [*atoms_of(tiny.system(tmp_path / "a"), 4), *atoms_of(tiny.system(tmp_path / "b", n_atom=4), 3)]
    io.write(tmp_path / "train.extxyz", frames)
    result = train(tiny.config([tmp_path / "train.extxyz"], RULES), output=tmp_path / "run")
    assert result.steps == 3 and np.isfinite(result.metrics["rmse_e_trn"])


def test_lmdb_counts_its_epochs_leaves_out_bad_frames_and_notices_a_change(tmp_path):
    lmdb, msgpack = pytest.importorskip("lmdb"), pytest.importorskip("msgpack")
    path = tmp_path / "train.lmdb"
    folder = tiny.system(tmp_path / "a", n_frame=5)
    types = np.loadtxt(folder / "type.raw", dtype=np.int32)
    arrays = {name: np.load(folder / "set.000" / f"{name}.npy") for name in ("coord", "box", "energy", "force")}

    def packed(values) -> dict:
        return {"type": str(values.dtype), "shape": list(values.shape), "data": values.tobytes()}

    with lmdb.open(str(path), map_size=1 << 20) as env, env.begin(write=True) as transaction:
        for i in range(5):
            keys = {"coords": "coord", "cells": "box", "energies": "energy", "forces": "force"}
            frame = {key: packed(np.asarray(arrays[name][i])) for key, name in keys.items()}
            transaction.put(f"{i:012d}".encode(), msgpack.packb(frame | {"atom_types": packed(types)}))
        transaction.put(f"{5:012d}".encode(), b"\xc1")
        transaction.put(b"__metadata__", msgpack.packb({"nframes": 6, "type_map": list(tiny.TYPE_MAP)}))
    epochs = {**RULES, "training/numb_steps": tiny.REMOVE, "training/numb_epoch": 2}
    with pytest.raises(DataError, match="train.lmdb, key 000000000005"):
        prepare(load(tiny.config([path], epochs)))
    setup = prepare(load(tiny.config([path], {**epochs, "dpjax/skip_bad_frames": True})))
    assert setup.num_steps == 6  # five frames, two at a time
    status = os.stat(path / "data.mdb")
    os.utime(path / "data.mdb", ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    with pytest.raises(DataError, match="changed while the training reads it"):
        setup.training.systems[0].content_hash()
