"""Run by DeePMD-kit's Python, once for many models: evaluates them and lists their weights under the names of its backends.

``python peer_sweep.py FOLDER``: each ``FOLDER/<case>.dp`` with its frames ``FOLDER/<case>.in.npz`` (``<situation>/<input>``) gives
``<case>.out.npz`` (``<situation>/<output>``), ``<case>.pytorch.npz`` and ``<case>.jax.npz``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from deepmd.dpmodel.utils.serialization import load_dp_model
from deepmd.pt.model.model.model import BaseModel
from deepmd.pt.model.model.spin_model import SpinEnergyModel


def evaluate(model, frames: dict) -> dict:
    """Every output of every situation, derivatives included."""
    out = {}
    for situation in sorted({name.partition("/")[0] for name in frames}):
        given = {
            name.partition("/")[2]: torch.as_tensor(a) for name, a in frames.items() if name.startswith(f"{situation}/")
        }
        coord = given["coord"]
        atype = given["atype"].broadcast_to(coord.shape[:2]).contiguous()
        box = given["box"].reshape(-1, 9) if "box" in given else None
        more = {name: given[name] for name in ("charge_spin", "spin") if name in given}  # not all models take them
        more |= {"box": box, "fparam": given.get("fparam"), "aparam": given.get("aparam"), "do_atomic_virial": True}
        found = model(coord, atype, **more)
        out |= {f"{situation}/{name}": value.detach().numpy() for name, value in found.items() if value is not None}
    return out


def read(tree: dict) -> torch.nn.Module:
    """The model of the PyTorch backend; those with spins are not in the table of its base class."""
    if tree["type"] == "spin_ener":
        return SpinEnergyModel.deserialize(tree)
    return BaseModel.deserialize(tree)


def jax_state(tree: dict) -> dict:
    """The state of the model in the JAX backend, as its checkpoints have it."""
    import deepmd.jax.utils.serialization  # noqa: F401 (settings of Flax that the others need)
    import jax
    from deepmd.jax.model.model import BaseModel as JaxModel
    from flax import nnx

    state = nnx.split(JaxModel.deserialize(tree))[1].to_pure_dict()
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    return {".".join(str(part.key) for part in path): np.asarray(leaf) for path, leaf in leaves}


def main(folder: Path) -> None:
    """All models of a folder."""
    for stored in sorted(folder.glob("*.dp")):
        model = read(load_dp_model(str(stored))["model"])
        model.eval()
        np.savez(stored.with_suffix(".out.npz"), **evaluate(model, dict(np.load(stored.with_suffix(".in.npz")))))
        state = {name: value.numpy() for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
        np.savez(stored.with_suffix(".pytorch.npz"), **state)
        try:
            np.savez(stored.with_suffix(".jax.npz"), **jax_state(load_dp_model(str(stored))["model"]))
        except Exception as error:  # models that this backend cannot build; the test knows which
            print(f"{stored.stem}: no JAX model: {type(error).__name__}")
        print(stored.stem, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
