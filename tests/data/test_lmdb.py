"""LMDB environments: frames as DeePMD-kit reads them, systems by size, block weights, and damage of every kind named."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dpjax.data import LabelSpec, Sampler, frames, label_requirements, load_systems
from dpjax.data.lmdb import LmdbStore
from dpjax.data.repeats import block_targets, repeats_of
from dpjax.errors import ConfigError, DataError
from tests.data.writing import TYPE_MAP, data_section
from tests.shared import golden

lmdb, msgpack = pytest.importorskip("lmdb"), pytest.importorskip("msgpack")

CASES = json.loads(golden("data", "index.json").read_text())["lmdb_cases"]
TABLES = json.loads(golden("data", "sampling.json").read_text())
ENERGY = label_requirements(("energy", "force", "virial"))
SPECS = (
    *ENERGY,
    LabelSpec("fparam", size=2),
    LabelSpec("aparam", per_atom=True),
    LabelSpec("atom_pref", per_atom=True, default=1.0),
)


def packed(array) -> dict:
    values = np.asarray(array)
    return {"type": str(values.dtype), "shape": list(values.shape), "data": values.tobytes()}


def frame(n_atom: int, seed: int = 0, **changes) -> dict:
    """What is written of a frame; a value of None takes a key out."""
    rng = np.random.default_rng(seed)
    whole = {
        "atom_types": packed(rng.integers(0, 2, n_atom).astype(np.int32)),
        "coords": packed(rng.uniform(0, 5, (n_atom, 3))),
        "cells": packed(np.diag([5.0, 6.0, 7.0])),
        "energies": packed(rng.normal()),
        "forces": packed(rng.normal(size=(n_atom, 3))),
        "virials": packed(rng.normal(size=(3, 3))),
    }
    return {key: value for key, value in (whole | changes).items() if value is not None}


def write(path: Path, written: list, **metadata) -> Path:
    """An environment with these frames (or raw bytes); metadata of None are left out."""
    with lmdb.open(str(path), map_size=1 << 22) as env, env.begin(write=True) as transaction:
        for index, own in enumerate(written):
            if own is not None:
                transaction.put(f"{index:012d}".encode(), own if isinstance(own, bytes) else msgpack.packb(own))
        facts = {"nframes": len(written), "frame_idx_fmt": "012d", "type_map": list(TYPE_MAP)} | metadata
        facts = {key: value for key, value in facts.items() if value is not None}
        transaction.put(b"__metadata__", msgpack.packb(facts))
    return path


def loaded(path, specs=ENERGY, type_map=TYPE_MAP, **options):
    return load_systems(data_section([str(path)]), type_map, specs, **options)


def failure(path, read: bool = False, **options) -> str:
    with pytest.raises(DataError) as caught:
        for system in loaded(path, **options):
            if read:
                system.arrays(range(system.n_frame), ["coord", "energy", "force"])
    return str(caught.value)


@pytest.mark.parametrize("case", CASES, ids=[case["file"] for case in CASES])
def test_equals_reference_reader(case):
    want = np.load(golden("data", "arrays", case["file"]))
    path = golden("data", "formats", case["system"])
    section = data_section([str(path)], batch_size=case["batch_size"])
    systems = load_systems(section, case["model_type_map"], SPECS)
    sampler = Sampler(systems, section, seed=1)
    sizes = {str(systems[s].n_atom): size for s, size in zip(sampler.kept, sampler.batch_sizes, strict=True)}
    assert sizes == case["batch_size_per_natoms"]
    places = {row["frame_key"]: position for position, row in enumerate(case["per_frame"])}
    seen = 0
    for system in (systems[s] for s in sampler.kept):
        got = system.arrays(range(system.n_frame), ["coord", "box", *system.labels])
        for row in range(system.n_frame):
            _, key = system.reader.locate(SPECS[0], row)
            flags = case["per_frame"][places[key]]
            assert np.array_equal(system.frame_types(row), want[f"{places[key]}/atype"])
            assert system.periodic == (f"{places[key]}/box" in want.files)
            for name in ("coord", "box", *system.labels):
                if f"{places[key]}/{name}" in want.files:
                    mine = np.repeat(got[name][row], 3) if name == "atom_pref" else got[name][row]
                    assert np.array_equal(mine.ravel(), want[f"{places[key]}/{name}"].ravel()), name
                assert system.found.get(name, 0) == flags.get(name, system.found.get(name, 0)), name
            seen += 1
    assert seen == case["nframes"]


def test_systems_by_size_cell_and_labels(tmp_path):
    written = [frame(3), frame(5), frame(3, 1, cells=None), frame(3, 2, virials=None), frame(5, 3), frame(3, 4)]
    systems = loaded(write(tmp_path / "a.lmdb", written))
    assert [(s.name.partition("#")[2], s.n_frame) for s in systems] == [
        ("3,periodic,all labels", 2), ("3,periodic,without virial", 1), ("3,open,all labels", 1), ("5", 2),
    ]  # fmt: skip
    assert [s.found["virial"] for s in systems] == [1, 0, 1, 1]
    assert len({s.name for s in systems}) == 4
    assert len(loaded(tmp_path / "a.lmdb", label_requirements(["energy"]))) == 3  # virials are not asked for


def test_other_forms_of_the_same_frame(tmp_path):
    plain = frame(3, energies=-1.5, forces=[[1.0, 2.0, 3.0]] * 3)
    flagged = frame(3, find_virial=0.0)
    bytes_keys = {key: {k.encode(): v for k, v in value.items()} for key, value in frame(3).items()}
    one, two, three = (
        loaded(write(tmp_path / f"{i}.lmdb", [f]))[0] for i, f in enumerate((plain, flagged, bytes_keys))
    )
    assert one.arrays([0], ["energy"])["energy"] == -1.5 and one.arrays([0], ["force"])["force"][0, 2, 1] == 2.0
    assert two.found["virial"] == 0 and three.found["virial"] == 1


def test_a_list_of_environments_and_directories(tmp_path):
    for name, sizes in (("a", (3, 3)), ("b", (4, 3))):
        write(tmp_path / f"{name}.lmdb", [frame(n, i) for i, n in enumerate(sizes)])
    systems = load_systems(data_section(["a.lmdb", "b.lmdb"]), TYPE_MAP, ENERGY, tmp_path)
    assert [system.name for system in systems] == ["a.lmdb", "b.lmdb#3", "b.lmdb#4"]


def test_epochs_count_the_batches_that_are_given(tmp_path):
    sizes = [3] * 25 + [7] * 11
    section = data_section(
        [str(write(tmp_path / "a.lmdb", [frame(n, i) for i, n in enumerate(sizes)]))], batch_size="auto"
    )
    sampler = Sampler(load_systems(section, TYPE_MAP, ENERGY), section, 1)
    assert sampler.batch_sizes == (11, 5) and sampler.batches_per_system == (3, 3)
    assert sampler.steps_per_epoch == 6


def test_large_environments_are_opened_by_their_metadata(tmp_path, monkeypatch):
    sizes = [3, 5] * 20
    path = write(tmp_path / "a.lmdb", [frame(n, i) for i, n in enumerate(sizes)], frame_nlocs=sizes)
    monkeypatch.setattr("dpjax.data.lmdb.QUICK_BYTES", 0)
    monkeypatch.setattr(frames, "SAMPLED", 4)
    loads = []

    whole = LmdbStore.load
    monkeypatch.setattr(LmdbStore, "load", lambda self, index: loads.append(index) or whole(self, index))
    systems = loaded(path)
    assert [(s.n_atom, s.n_frame) for s in systems] == [(3, 20), (5, 20)]
    assert len(loads) <= 8


def test_a_frame_that_is_not_what_the_metadata_say(tmp_path, monkeypatch):
    monkeypatch.setattr("dpjax.data.lmdb.QUICK_BYTES", 0)
    monkeypatch.setattr(frames, "SAMPLED", 2)
    written = [frame(3, i) for i in range(9)]
    written[4], written[5], written[6] = (
        frame(4),
        frame(3, forces=None),
        frame(3, atom_types=packed(np.array([0, 1, 7]))),
    )
    path = write(tmp_path / "a.lmdb", written, frame_nlocs=[3] * 9)
    (system,) = loaded(path)
    for bad, text in [
        (4, "has 4 atoms and a cell; expected 3 atoms"),
        (5, "has no `force`"),
        (6, "atom of type 7; expected numbers from 0 to 1"),
    ]:
        with pytest.raises(DataError, match=text) as caught:
            system.arrays([bad], ["coord", "force"])
        assert f"a.lmdb, key {bad:012d}" in str(caught.value)


def test_an_element_that_the_model_does_not_know(tmp_path, monkeypatch):
    path = write(
        tmp_path / "a.lmdb", [frame(3), frame(3, atom_types=packed(np.array([0, 2, 1])))], type_map=["O", "H", "Xx"]
    )
    assert "Xx, unknown to the model, whose type_map is: O, H" in failure(path)
    monkeypatch.setattr("dpjax.data.lmdb.QUICK_BYTES", 0)
    monkeypatch.setattr(frames, "SAMPLED", 1)
    (system,) = loaded(write(tmp_path / "b.lmdb", [frame(3), frame(3, atom_types=packed(np.array([0, 2, 1])))],
                             type_map=["O", "H", "Xx"], frame_nlocs=[3, 3]))  # fmt: skip
    with pytest.raises(DataError, match="b.lmdb, key 000000000001.*atom 1 is Xx, unknown to the model"):
        system.frame_types(1)


BAD_FRAMES = {
    "no msgpack": (b"\xc1\xff rubbish", "no MessagePack map"),
    "cut off": (msgpack.packb(frame(3))[:-5], "no MessagePack map"),
    "a list": (msgpack.packb([1, 2]), "holds a list; expected a MessagePack map"),
    "empty": (b"", "no MessagePack map"),
    "absent": (None, "is missing, though the metadata promise 3 frames"),
    "no types": (frame(3, atom_types=None), "has no atype"),
    "few bytes": (frame(3, forces=packed(np.zeros(9)) | {"shape": [3, 4]}), "forces cannot be read as an array"),
    "no dtype": (frame(3, coords={"data": b"abc"}), "coords cannot be read as an array"),
    "objects": (frame(3, coords=packed(np.zeros(9)) | {"type": "object"}), "coords cannot be read as an array"),
    "text": (frame(3, energies="low"), "energies holds values of dtype"),
    "few coordinates": (frame(3, coords=packed(np.zeros(6))), "has 3 types and 6 coordinates"),
    "cell": (frame(3, cells=packed(np.zeros(3))), "the cell has 3 numbers"),
    "type": (frame(3, atom_types=packed(np.array([0, 1, 2]))), "atom of type 2; expected numbers from 0 to 1"),
}


@pytest.mark.parametrize("bad, text", BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_a_bad_frame_is_named_and_left_out_only_if_asked(tmp_path, caplog, bad, text):
    path = write(tmp_path / "a.lmdb", [frame(3), bad, frame(3, 2)])
    message = failure(path)
    assert f"{path}, key 000000000001" in message and text in message and "dpjax/skip_bad_frames" in message
    with caplog.at_level(logging.WARNING):
        (system,) = loaded(path, skip_bad_frames=True)
    assert system.n_frame == 2 and system.reader.locate(ENERGY[0], 1)[1] == 2
    assert "1 of 3 frames are left out" in caplog.text and "key 000000000001" in caplog.text


def test_not_finite(tmp_path):
    forces = np.zeros((3, 3))
    forces[1, 2] = np.inf
    path = write(tmp_path / "a.lmdb", [frame(3), frame(3, forces=packed(forces))])
    assert f"{path}, key 000000000001, force: frame 1, atom 1" in failure(path, read=True)
    assert loaded(path, skip_bad_frames=True)[0].n_frame == 1


def test_no_frame_is_left(tmp_path):
    path = write(tmp_path / "a.lmdb", [b"x", b"y"])
    assert "none of its 2 frames can be read" in failure(path, skip_bad_frames=True)
    assert "holds no frame" in failure(write(tmp_path / "b.lmdb", []))


@pytest.mark.parametrize("metadata, text", [
    ({"nframes": None}, "None as nframes"),
    ({"nframes": "many"}, "'many' as nframes"),
    ({"frame_idx_fmt": "huh"}, "frame_idx_fmt"),
    ({"type_map": 3}, "3 as type_map"),
    ({"frame_nlocs": [3]}, "1 entries in frame_nlocs; expected 2"),
    ({"frame_system_ids": [0, -1]}, "frame_system_ids; expected 2 whole numbers from 0"),
])  # fmt: skip
def test_bad_metadata(tmp_path, metadata, text):
    message = failure(write(tmp_path / "a.lmdb", [frame(3), frame(3)], **metadata))
    assert f"{tmp_path}/a.lmdb" in message and text in message, message


def test_no_metadata(tmp_path):
    with lmdb.open(str(tmp_path / "a.lmdb"), map_size=1 << 20) as env, env.begin(write=True) as transaction:
        transaction.put(b"other", b"data")
    assert "a.lmdb has no key __metadata__" in failure(tmp_path / "a.lmdb")


@pytest.mark.parametrize("keep", [0, 50, 4096, 8192, 0.5, 0.99])
def test_truncated_environment(tmp_path, keep):
    """Reading on would end the process, not raise."""
    path = write(tmp_path / "a.lmdb", [frame(30, i) for i in range(40)])
    data = (path / "data.mdb").read_bytes()
    (path / "data.mdb").write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    message = failure(path, read=True)
    assert "data.mdb" in message and "opy or convert" in message


def test_not_an_environment(tmp_path):
    (tmp_path / "a.lmdb").mkdir()
    (tmp_path / "a.lmdb" / "data.mdb").write_bytes(b"something else" * 1000)
    assert "is no LMDB environment" in failure(tmp_path / "a.lmdb")


def test_a_replaced_environment_is_reported(tmp_path):
    path = write(tmp_path / "a.lmdb", [frame(3, i) for i in range(3)])
    (system,) = loaded(path)
    first = system.content_hash()
    shutil.rmtree(path)
    write(path, [frame(3, i + 10) for i in range(3)])
    os.utime(path / "data.mdb", ns=(0, 10**18))
    with pytest.raises(DataError, match="data.mdb: the file changed while the training reads it"):
        system.content_hash()
    assert loaded(path)[0].content_hash() != first


@pytest.mark.parametrize("row", TABLES["lmdb_block_targets"], ids=lambda row: f"{row['frames_per_system']}")
def test_block_targets(row):
    blocks = [tuple(map(float, text.split(":"))) for text in row["auto_prob"].split(";")[1:]]
    blocks = [(int(start), int(end), weight) for start, end, weight in blocks]
    own = np.array([sum(row["frames_per_system"][start:end]) for start, end, _ in blocks])
    want = [target for _, target in row["targets"]] or own.tolist()  # nothing is listed where nothing is repeated
    assert block_targets(blocks, own).tolist() == want


def origins(source: str, ids) -> SimpleNamespace:
    return SimpleNamespace(source=source, ids=np.array(ids), number=int(max(ids)) + 1)


def test_blocks_number_the_origins_of_all_systems():
    systems = [
        SimpleNamespace(name="npy", n_frame=10, n_atom=3),
        SimpleNamespace(name="a#3", n_frame=6, n_atom=3, origins=origins("a", [0, 0, 1, 1, 1, 3])),
        SimpleNamespace(name="a#5", n_frame=4, n_atom=5, origins=origins("a", [0, 3, 3, 3])),
    ]
    section = data_section(
        None, batch_size=2, auto_prob="prob_sys_size;0:1:0.25;1:3:0.75"
    )  # npy | origins 0 and 1 of a
    sampler = Sampler(systems, section, 3)
    assert sampler.batches_per_system == (5, 13, 3)  # 10 frames; 30 of 5 + 1 frames
    seen = [np.zeros(system.n_frame, int) for system in systems]
    for _ in range(4000):
        system, own = sampler.next()
        np.add.at(seen[system], own, 1)
    assert seen[1][5] == 0 and not seen[2][1:].any()  # origin 3 is in no block
    assert seen[0].sum() / sum(map(sum, seen)) == pytest.approx(0.25, abs=0.03)
    rest = np.array([*seen[1][:5], seen[2][0]])
    assert rest.min() / rest.max() > 0.85


def test_a_pass_with_repeats_gives_every_frame_and_can_be_repeated():
    systems = [SimpleNamespace(name="a", n_frame=9, n_atom=3, origins=origins("a", [0, 0, 0, 0, 0, 0, 1, 1, 1]))]
    (repeats,) = repeats_of(systems, [0], "prob_sys_size;0:1:0.3;1:2:0.7", "x")
    assert repeats.n_frame == 6 + 14
    order = repeats.order(np.random.default_rng(1))
    assert np.bincount(order)[:6].tolist() == [1] * 6 and sorted(np.bincount(order)[6:]) == [4, 5, 5]
    assert np.array_equal(order, repeats.order(np.random.default_rng(1)))
    section = data_section(None, batch_size=3, auto_prob="prob_sys_size;0:1:0.3;1:2:0.7")
    one, two = Sampler(systems, section, 5), Sampler(systems, section, 5)
    drawn = [one.next()[1].tolist() for _ in range(20)]
    assert two.restore(json.loads(json.dumps(one.state() | {"step": 10})))
    assert [two.next()[1].tolist() for _ in range(10)] == drawn[10:]


def test_blocks_without_a_frame():
    systems = [SimpleNamespace(name="a", n_frame=2, n_atom=3, origins=origins("a", [0, 2]))]
    with pytest.raises(ConfigError, match="auto_prob.*none of its blocks with a weight has a frame"):
        Sampler(systems, data_section(None, auto_prob="prob_sys_size;1:2:1"), 1)


def test_what_to_install(tmp_path, monkeypatch):
    import sys

    path = write(tmp_path / "a.lmdb", [frame(3)])
    monkeypatch.setitem(sys.modules, "lmdb", None)
    assert "pip install 'dpjax[lmdb]'" in failure(path)
