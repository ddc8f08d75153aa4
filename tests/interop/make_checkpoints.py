"""Makes ``tests/goldens/checkpoints`` with DeePMD-kit 3.2.0: tiny models in the files of its backends, and what it makes of them.

    PEER=DIR python tests/interop/make_checkpoints.py

``PEER`` names a virtual environment with deepmd-kit 3.2.0, its PyTorch and JAX backends.  Two steps of training each:

``se_e2_a/``  ``model.pt``, ``model.pth`` (frozen), ``model.dp`` (converted from ``model.pt``)
``se_atten/`` ``model.pt``, ``model.pth``, ``model.dp``, ``model.jax`` (converted from ``model.dp``)
``tasks/``    ``model.pt`` of two branches that share their descriptor; ``cold.dp``, ``hot.dp`` (frozen and converted)

Of TorchScript archives the debugging entries are left out, which hold the paths of the machine and most of the bytes.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TARGET = REPOSITORY / "tests" / "goldens" / "checkpoints"
WATER = REPOSITORY / "examples" / "water"
COMMON = {"rcut": 3.0, "rcut_smth": 0.5, "neuron": [3, 6], "axis_neuron": 2, "seed": 1}
SE_E2_A = {"type": "se_e2_a", "sel": [8, 16], "exclude_types": [[0, 0]], **COMMON}
SE_ATTEN = {"type": "se_atten", "sel": 20, "attn": 4, "attn_layer": 1, "tebd_dim": 3, **COMMON}
FITTING = {"neuron": [5, 5], "seed": 1}
RATE = {"type": "exp", "start_lr": 1e-3, "stop_lr": 1e-5, "decay_steps": 1}
STEPS = {"numb_steps": 2, "save_freq": 2, "disp_freq": 1, "seed": 1}


def data(name: str) -> dict:
    """Training data of one system."""
    return {"training_data": {"systems": [str(WATER / name)], "batch_size": 1}}


def single(descriptor: dict, **fitting) -> dict:
    """An input of one model."""
    model = {"type_map": ["O", "H"], "descriptor": descriptor, "fitting_net": FITTING | fitting}
    return {"model": model, "learning_rate": RATE, "loss": {"type": "ener"}, "training": data("train_300K") | STEPS}


def tasks() -> dict:
    """An input of two models with one descriptor; the first is the default."""
    branch = {"type_map": "elements", "descriptor": "common", "fitting_net": FITTING}
    branches = {
        "cold": branch | {"model_branch_alias": ["Default", "ice"]},
        "hot": copy.deepcopy(branch) | {"fitting_net": FITTING | {"neuron": [4, 4]}},
    }
    shared = {"elements": ["O", "H"], "common": SE_ATTEN}
    systems = {"cold": data("train_300K"), "hot": data("train_600K")}
    return {
        "model": {"shared_dict": shared, "model_dict": branches},
        "learning_rate": RATE,
        "loss_dict": {name: {"type": "ener"} for name in branches},
        "training": {"model_prob": {"cold": 0.5, "hot": 0.5}, "data_dict": systems, **STEPS},
    }


def dp(folder: Path, *arguments: str) -> None:
    """Runs DeePMD-kit in a folder."""
    quiet = os.environ | {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    subprocess.run([str(Path(os.environ["PEER"], "bin", "dp")), *arguments], cwd=folder, env=quiet, check=True)


def train(folder: Path, given: dict) -> None:
    """Trains with the PyTorch backend."""
    (folder / "input.json").write_text(json.dumps(given))
    dp(folder, "--pt", "train", "input.json", "--skip-neighbor-stat")
    shutil.copy(folder / "model.ckpt-2.pt", folder / "model.pt")


def without_debugging(archive: Path, target: Path) -> None:
    """A TorchScript archive without what only debuggers read."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for entry in old.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                kind = zipfile.ZIP_DEFLATED if "/code/" in entry.filename else zipfile.ZIP_STORED
                new.writestr(zipfile.ZipInfo(entry.filename), old.read(entry), kind)


def main() -> None:
    """All fixtures anew."""
    shutil.rmtree(TARGET, ignore_errors=True)
    made = {
        "se_e2_a": single(SE_E2_A, numb_fparam=0, resnet_dt=True),
        "se_atten": single(SE_ATTEN),
        "tasks": tasks(),
    }
    for name, given in made.items():
        (TARGET / name).mkdir(parents=True)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            train(folder, given)
            kept = ["model.pt"]
            if name == "tasks":
                for branch in ("cold", "hot"):
                    dp(folder, "--pt", "freeze", "-o", f"{branch}.pth", "--head", branch)
                    dp(folder, "convert-backend", f"{branch}.pth", f"{branch}.dp")
                kept += ["cold.dp", "hot.dp"]
            else:
                dp(folder, "--pt", "freeze", "-o", "model.pth")
                dp(folder, "convert-backend", "model.pt", "model.dp")
                without_debugging(folder / "model.pth", TARGET / name / "model.pth")
                kept += ["model.dp"]
            if name == "se_atten":
                dp(folder, "convert-backend", "model.dp", "model.jax")
                shutil.copytree(folder / "model.jax", TARGET / name / "model.jax")
                for mark in (TARGET / name / "model.jax").rglob("commit_success.txt"):
                    mark.write_text("complete\n")  # it names the folder of this machine
            for file in kept:
                shutil.copy(folder / file, TARGET / name / file)


if __name__ == "__main__":
    main()
