"""PyTorch's archives without PyTorch: tensors come back, nothing of a file is executed, damage has one message."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dpjax.errors import ModelError
from dpjax.formats.torch_archive import Unknown, read_script, read_torch
from tests.shared import golden

TRAINED = golden("checkpoints", "se_e2_a", "model.pt")
FROZEN = golden("checkpoints", "se_e2_a", "model.pth")


def named(module: str, name: str) -> bytes:
    """Opcodes that look up a class or function."""
    return f"c{module}\n{name}\n".encode()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def numbers(*values: int) -> bytes:
    """Opcodes of a tuple of integers."""
    return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"


def tensor(kind: str, count: int, offset: int, size: tuple, stride: tuple) -> bytes:
    """Opcodes of a tensor as ``torch.save`` writes it, of the storage ``0``."""
    storage = (
        b"("
        + text("storage")
        + named("torch", kind)
        + text("0")
        + text("cpu")
        + b"J"
        + struct.pack("<i", count)
        + b"tQ"
    )
    hooks = named("collections", "OrderedDict") + b")R"
    inside = storage + b"J" + struct.pack("<i", offset) + numbers(*size) + numbers(*stride) + b"\x89" + hooks
    return named("torch._utils", "_rebuild_tensor_v2") + b"(" + inside + b"tR"


def archive(path: Path, content: bytes, storage: bytes = b"", order: bytes = b"little") -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model/data.pkl", b"\x80\x02" + content + b".")
        file.writestr("model/byteorder", order)
        file.writestr("model/data/0", storage)
    return path


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("DoubleStorage", "f8"),
        ("FloatStorage", "f4"),
        ("HalfStorage", "f2"),
        ("LongStorage", "i8"),
        ("BoolStorage", "?"),
    ],
)
@pytest.mark.parametrize("order", ["little", "big"])
def test_views_of_a_storage(kind, dtype, order, tmp_path):
    values = np.arange(12).astype(dtype)
    stored = values.astype(np.dtype(dtype).newbyteorder("<" if order == "little" else ">")).tobytes()
    path = archive(tmp_path / "m.pt", tensor(kind, 12, 2, (2, 3), (1, 3)), stored, order.encode())
    got = read_torch(path)
    np.testing.assert_array_equal(got, values[2:11].reshape(3, 3).T[:2])
    assert got.dtype == np.dtype(dtype)


def test_bfloat16(tmp_path):
    import ml_dtypes

    values = np.array([1.5, -2.0, 0.125], ml_dtypes.bfloat16)
    got = read_torch(archive(tmp_path / "m.pt", tensor("BFloat16Storage", 3, 0, (3,), (1,)), values.tobytes()))
    assert got.dtype == values.dtype and got.tolist() == [1.5, -2.0, 0.125]


@pytest.mark.parametrize(
    ("count", "offset", "size", "stride"),
    [(4, 1, (4,), (1,)), (4, 0, (2, 2), (4, 1)), (4, -1, (2,), (1,)), (9, 0, (4,), (1,)), (4, 3, (2,), (-1,))],
)
def test_a_tensor_outside_of_its_storage_is_refused(count, offset, size, stride, tmp_path):
    path = archive(tmp_path / "m.pt", tensor("DoubleStorage", count, offset, size, stride), np.zeros(4).tobytes())
    with pytest.raises(ModelError, match="not a readable PyTorch file"):
        read_torch(path)


def test_code_of_a_file_is_not_executed(tmp_path):
    mark = tmp_path / "executed"

    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {mark}",)

    payload = pickle.dumps({"weights": 1, "attack": Attack()}, protocol=2)[2:-1]
    got = read_torch(archive(tmp_path / "m.pt", payload))
    assert got["weights"] == 1 and isinstance(got["attack"], Unknown) and not mark.exists()


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.98])
def test_a_truncated_file_has_one_message(kept, tmp_path):
    data = TRAINED.read_bytes()
    path = tmp_path / "cut.pt"
    path.write_bytes(data[: kept if isinstance(kept, int) else int(kept * len(data))])
    with pytest.raises(ModelError, match=r"cut\.pt: not a readable PyTorch file"):
        read_torch(path)


def test_a_changed_byte_is_noticed(tmp_path):
    with zipfile.ZipFile(TRAINED) as file:
        entry = next(e for e in file.infolist() if "/data/" in e.filename and e.file_size > 8)
    data = bytearray(TRAINED.read_bytes())
    name, extra = struct.unpack_from("<HH", data, entry.header_offset + 26)
    data[entry.header_offset + 30 + name + extra + 4] ^= 1  # behind the header: a byte of the numbers
    (tmp_path / "changed.pt").write_bytes(data)
    with pytest.raises(ModelError, match="not a readable PyTorch file"):
        read_torch(tmp_path / "changed.pt")


def test_other_files(tmp_path):
    with pytest.raises(ModelError, match="no such model file"):
        read_torch(tmp_path / "absent.pt")
    with zipfile.ZipFile(tmp_path / "empty.pt", "w") as file:
        file.writestr("a/b", b"")
    with pytest.raises(ModelError, match="no data.pkl"):
        read_torch(tmp_path / "empty.pt")
    with pytest.raises(ModelError, match="no TorchScript module"):
        read_script(TRAINED)


def test_a_training_checkpoint():
    found = read_torch(TRAINED)
    assert found.keys() == {"model", "optimizer"}
    assert found["model"]["_extra_state"]["model_params"]["type_map"] == ["O", "H"]


def test_a_frozen_module_has_the_state_of_the_checkpoint():
    """Parameters and buffers alone; other tensors among the attributes of a module are no part of its state."""
    state, attributes = read_script(FROZEN)
    trained = {
        k.removeprefix("model.Default."): v for k, v in read_torch(TRAINED)["model"].items() if k != "_extra_state"
    }
    assert state.keys() == trained.keys()
    for name, value in trained.items():
        np.testing.assert_array_equal(state[name], value, err_msg=name)
    assert '"se_e2_a"' in attributes["model_def_script"]


def test_what_pytorch_writes(tmp_path):
    torch = pytest.importorskip("torch")
    whole = torch.arange(24, dtype=torch.float64).reshape(4, 6)
    stored = {
        "transposed": whole.T,
        "part": whole[1:3, ::2],
        "parameter": torch.nn.Parameter(torch.ones(3)),
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "nested": [1, "two", {"three": torch.zeros(1, dtype=torch.int8)}],
    }
    torch.save(stored, tmp_path / "m.pt")
    got = read_torch(tmp_path / "m.pt")
    for name in ("transposed", "part", "parameter", "scalar", "empty"):
        np.testing.assert_array_equal(got[name], stored[name].detach().numpy())
    assert got["half"].astype(float).tolist() == [1.0, 1.0]
    assert got["nested"][:2] == [1, "two"] and got["nested"][2]["three"].dtype == np.int8
