"""What ``System`` returns for the tiny systems of every npy and HDF5 flavour, against DeePMD-kit's reader; and its properties."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dpjax.data import LabelSpec, label_requirements, npy, open_system
from tests.data.writing import TYPE_MAP, random_set, write_system
from tests.shared import golden

CASES = json.loads(golden("data", "index.json").read_text())["cases"]
ENERGY = label_requirements(("energy", "force", "virial"))


def specs_of(case: dict, arrays: dict[str, np.ndarray]) -> list[LabelSpec]:
    """Labels of a golden case, sizes taken from its arrays."""
    specs = []
    for name in set(case["found"]) - {"coord", "box"}:
        old = (name.replace("atom_", "atomic_", 1),) if name.startswith("atom_") else ()
        pair = name == "hessian"
        size = 1 if pair else arrays[name].shape[-1]
        specs.append(LabelSpec(name, per_atom=arrays[name].ndim == 3, size=size, atom_pair=pair, aliases=old))
    return specs


@pytest.mark.parametrize("case", CASES, ids=[case["file"] for case in CASES])
def test_equals_reference_reader(case):
    want = dict(np.load(golden("data", "arrays", case["file"])))
    atype, per_type = want.pop("atype"), want.pop("real_natoms_vec", None)
    file, mark, group = case["system"].partition("#")
    system = open_system(
        Path(f"{golden('data', 'formats', file)}{mark}{group}"), case["model_type_map"], specs_of(case, want)
    )
    assert (system.n_frame, system.n_atom) == (case["nframes"], case["natoms"])
    assert (system.periodic, system.mixed) == (case["periodic"], case["mixed_type"])
    assert system.found == case["found"]
    assert np.array_equal(np.stack([system.frame_types(i) for i in range(system.n_frame)]), atype)
    if per_type is not None:
        counts = [np.bincount(row[row >= 0], minlength=per_type.shape[1] - 2) for row in atype]
        assert np.array_equal(counts, per_type[:, 2:])
    got = system.arrays(range(system.n_frame), want)
    for name, values in want.items():
        assert got[name].dtype == np.float64
        assert np.array_equal(got[name], values), name


def test_frames_in_any_order_across_sets(tmp_path):
    system = open_system(write_system(tmp_path / "s"), TYPE_MAP, ENERGY)
    everything = system.arrays(range(5), ["coord", "energy", "force", "box"])
    picked = system.arrays([4, 0, 3, 0], ["coord", "energy", "force", "box"])
    for name, values in picked.items():
        assert np.array_equal(values, everything[name][[4, 0, 3, 0]])
    assert np.array_equal(system.coord(4), everything["coord"][4])
    assert np.array_equal(system.cell(2), np.diag([5.0, 6.0, 7.0]))


def test_sets_join_in_name_order_not_in_creation_order(tmp_path):
    folder = write_system(tmp_path / "s", random_set(1, 1), random_set(1, 2))
    (folder / "set.000").rename(folder / "set.zzz")
    system = open_system(folder, TYPE_MAP, ENERGY)
    assert np.array_equal(system.arrays([0, 1], ["energy"])["energy"][:, 0],
                          [random_set(1, 2)["energy"][0], random_set(1, 1)["energy"][0]])  # fmt: skip


def test_hessian_follows_the_atoms_on_both_axes(tmp_path):
    coord = np.random.default_rng(0).normal(size=(2, 9))
    arrays = random_set(2) | {"coord": coord, "hessian": (coord[:, :, None] * coord[:, None, :]).reshape(2, -1)}
    system = open_system(write_system(tmp_path / "s", arrays), TYPE_MAP, label_requirements(["hessian"]))
    got = system.arrays([0, 1], ["coord", "hessian"])
    flat = got["coord"].reshape(2, 9)
    assert np.array_equal(got["hessian"].reshape(2, 9, 9), flat[:, :, None] * flat[:, None, :])


def test_missing_labels_are_flagged_and_filled(tmp_path):
    labels = label_requirements(["virial", "atom_ener_coeff"], numb_fparam=2, default_fparam=(0.5, -1.0))
    arrays = {key: value for key, value in random_set(2).items() if key != "virial"}
    system = open_system(write_system(tmp_path / "s", arrays), TYPE_MAP, labels)
    got = system.arrays([1, 0], ["virial", "atom_ener_coeff", "fparam"])
    assert [system.found[key] for key in got] == [0.0, 0.0, 0.0]
    assert np.array_equal(got["virial"], np.zeros((2, 9)))
    assert np.array_equal(got["atom_ener_coeff"], np.ones((2, 3, 1)))
    assert np.array_equal(got["fparam"], [[0.5, -1.0]] * 2)


def test_nopbc_ignores_a_cell_that_is_there(tmp_path):
    system = open_system(write_system(tmp_path / "s", nopbc=True), TYPE_MAP, ENERGY)
    assert not system.periodic and system.found["box"] == 0.0 and system.cell(0) is None


@pytest.mark.parametrize("change", [np.asfortranarray, lambda a: a.astype(">f4"), lambda a: a.reshape(3, 3, 3)])
def test_memory_order_byte_order_and_split_axes_do_not_matter(tmp_path, change):
    arrays = random_set(3)
    arrays["coord"] = arrays["coord"].astype(np.float32).astype(np.float64)
    plain = open_system(write_system(tmp_path / "a", arrays), TYPE_MAP)
    other = open_system(write_system(tmp_path / "b", arrays | {"coord": change(arrays["coord"])}), TYPE_MAP)
    assert np.array_equal(plain.arrays([2, 0], ["coord"])["coord"], other.arrays([2, 0], ["coord"])["coord"])


def test_opening_reads_no_array_data(tmp_path, monkeypatch):
    folder = write_system(tmp_path / "s")
    monkeypatch.setattr(npy, "_opened", None)
    system = open_system(folder, TYPE_MAP, ENERGY)
    assert system.n_frame == 5 and system.found["force"] == 1.0
    with pytest.raises(TypeError):
        system.coord(0)


def test_an_open_system_holds_no_file_descriptors(tmp_path):
    import os

    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else pytest.skip("needs /proc")
    system = open_system(write_system(tmp_path / "s"), TYPE_MAP, ENERGY)
    system.arrays(range(5), ["coord", "box", "energy", "force"])
    assert len(os.listdir("/proc/self/fd")) == before


def test_content_hash_is_of_the_data_alone(tmp_path):
    folder = write_system(tmp_path / "a")
    first = open_system(folder, TYPE_MAP, ENERGY)
    copy = open_system(shutil.copytree(folder, tmp_path / "elsewhere" / "b"), TYPE_MAP, ENERGY)
    assert first.content_hash() == copy.content_hash()
    assert first.content_hash() != first.content_hash(["coord", "box"])
    forces = np.load(folder / "set.001" / "force.npy")
    forces[1, 4] += 1e-12
    np.save(folder / "set.001" / "force.npy", forces)
    changed = open_system(folder, TYPE_MAP, ENERGY)
    assert changed.content_hash() != copy.content_hash()
    assert changed.content_hash(["coord", "box"]) == copy.content_hash(["coord", "box"])


def test_rows_that_lie_together_are_read_together(tmp_path, monkeypatch):
    system = open_system(write_system(tmp_path / "s", random_set(40)), TYPE_MAP, ENERGY)
    reads = []
    fill = npy.NpyFile._fill
    monkeypatch.setattr(npy.NpyFile, "_fill", lambda *args: reads.append(len(args[2])) or fill(*args))
    frames = [3, 4, 5, 30, 7, 8, 39, 0]
    want = np.load(tmp_path / "s" / "set.000" / "force.npy")[frames].reshape(8, 3, 3)[:, system.order]
    assert np.array_equal(system.arrays(frames, ["force"])["force"], want)
    assert [size // 72 for size in reads] == [3, 1, 2, 1, 1]


def test_no_such_frame(tmp_path):
    system = open_system(write_system(tmp_path / "s"), TYPE_MAP, ENERGY)
    for frame in (-1, 5):
        with pytest.raises(IndexError, match="has 5 frames"):
            system.arrays([frame], ["energy"])
