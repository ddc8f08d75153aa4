"""Trainings for the NVNMD hardware: what they start from, and DeePMD-kit's two stages with their folders.

Stage ``s1`` trains the continuous model in ``nvnmd_cnn``, stage ``s2`` the quantised one in ``nvnmd_qnn``, which starts from the
files of the first: ``config.npy``, ``weight.npy``, ``map.npy``.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dpjax.config import Config, ModelConfig, load_any, nvnmd, parse_model
from dpjax.config.files import read
from dpjax.data import load_systems
from dpjax.errors import ConfigError, ModelError
from dpjax.formats.nvnmd import read_dictionary, write_dictionary
from dpjax.interfaces.potential import Potential
from dpjax.interop import nvnmd as weights
from dpjax.interop import nvnmd_config
from dpjax.neighbors.stat import neighbor_stat

log = logging.getLogger(__name__)

Initial = tuple[ModelConfig, dict[str, Any]]
STAGES = ("s1", "s2")
CONTINUOUS, QUANTIZED = "nvnmd_cnn", "nvnmd_qnn"
CONFIG, WEIGHTS, TABLES, INPUT = "config.npy", "weight.npy", "map.npy", "train.json"
_FLAGS = ("restore_descriptor", "restore_fitting_net", "quantize_descriptor", "quantize_fitting_net")


def start_of(config: Config) -> Initial | None:
    """What a training starts from by the files of its section ``nvnmd``; None: from nothing.

    Raises:
        ModelError: a file is missing, damaged, or that of another model.
    """
    own = config.model.nvnmd
    if own is None:
        return None
    if own.config_file.strip() not in nvnmd.NO_FILE and Path(own.config_file).exists():
        nvnmd_config.check_config(config.model, read_dictionary(own.config_file), own.config_file)
    if not (own.restores or own.quantize_descriptor):
        return None
    parts = [part for part in ("descriptor", "fitting_net") if getattr(own, f"restore_{part}")]
    arrays = read_dictionary(own.weight_file) if parts else {}
    tables = read_dictionary(own.map_file) if own.quantize_descriptor else None
    with jax.enable_x64(True):
        return config.model, weights.read_parts(config.model, arrays, parts, tables)


def files_of(potential: Potential, nearest: float) -> dict[str, dict[str, Any]]:
    """Contents of ``config.npy``, ``weight.npy`` and ``map.npy`` of a model, by their names.

    Args:
        potential: in the form of the hardware; tables of a continuous one are made of its weights.
        nearest: smallest distance of two atoms of the data, angstrom; 0 where it is not known.

    Raises:
        ModelError: it is no model for the hardware.
    """
    config, variables = potential.config, jax.device_get(potential.variables)
    if config.nvnmd is None:
        raise ModelError(
            "this is no model for the NVNMD hardware, so it has no such weights. Train one: an input with a section nvnmd, or "
            "`dpjax train-nvnmd`."
        )
    with jax.enable_x64(True):
        quantized = config
        if not config.nvnmd.quantize_descriptor:
            quantized = replace(config, nvnmd=replace(config.nvnmd, quantize_descriptor=True))
        tabled = variables if quantized is config else weights.with_tables(quantized, variables, nearest)
        return {
            CONFIG: nvnmd_config.hardware_config(config, variables["stats"], nearest),
            WEIGHTS: weights.write_weights(config, variables, nearest),
            TABLES: weights.write_tables(quantized, tabled),
        }


def load_files(
    model_section: dict, section: dict, folder: str | os.PathLike = ".", *, tables: str | os.PathLike | None = None
) -> Potential:
    """A potential from the files that a training for the hardware has left.

    Args:
        model_section, section: ``model`` and ``nvnmd`` of the input; the flags say what is quantised.
        folder: holds ``weight.npy``, and ``map.npy`` for a quantised descriptor; without that, tables are made of the weights.
        tables: another place of ``map.npy``.

    Raises:
        ConfigError: a section is not valid.
        ModelError: a file is missing, damaged, or that of another model.
    """
    config = nvnmd.in_form(parse_model(model_section), section | {"enable": True})
    place = Path(tables) if tables is not None else Path(folder) / TABLES
    wanted = config.nvnmd.quantize_descriptor and (tables is not None or place.exists())
    with jax.enable_x64(True):
        found = read_dictionary(Path(folder) / WEIGHTS)
        variables = weights.read_weights(config, found, read_dictionary(place) if wanted else None)
    return Potential(config, variables, conventions="reference")


def train_in_stages(
    source: dict | str | os.PathLike,
    stage: str = "s1",
    output: str | os.PathLike = ".",
    *,
    restart: bool | str | os.PathLike | None = None,
    init_model: str | os.PathLike | None = None,
) -> Any:
    """Train one stage, as ``dp train-nvnmd`` does.

    Args:
        source: an input whose section ``nvnmd`` has ``version``, ``max_nnei``, ``sel``, ``rcut``, ``rcut_smth`` and ``type_map``,
            and which has no ``model``; or its path.
        stage: ``"s1"``, the continuous model, or ``"s2"``, the quantised one.
        output: where the folders of the stages are.
        restart, init_model: as for :func:`dpjax.train`, of the first stage.

    Returns:
        What :func:`dpjax.train` returns.

    Raises:
        ConfigError, DataError, ModelError: as :func:`dpjax.train`.
    """
    from dpjax.interfaces.files import load
    from dpjax.interfaces.train import train

    if stage not in STAGES:
        raise ConfigError(f"stage: found {stage!r}, expected {' or '.join(STAGES)}")
    if stage == "s2" and (restart or init_model):
        raise ConfigError("restart, init_model: the second stage starts from the files of the first; give neither")
    first, own = Path(output) / CONTINUOUS, Path(output) / (CONTINUOUS if stage == "s1" else QUANTIZED)
    data = full_input(source, stage, first)
    config = load_any(data).first
    write_dictionary(own / INPUT, data)
    result = train(own / INPUT, own, restart=restart, init_model=init_model)
    potential = load(own)
    nearest = _nearest(config)
    contents = files_of(potential, nearest)
    for name in (CONFIG, WEIGHTS, TABLES) if stage == "s1" else (CONFIG, WEIGHTS):
        write_dictionary(own / name, contents[name])
    log.info("%s: wrote %s, %s%s", own, CONFIG, WEIGHTS, f", {TABLES}" if stage == "s1" else "")
    return result


def _nearest(config: Config) -> float:
    """Smallest distance of two atoms in the training data, angstrom; 0 where no two are neighbours."""
    systems = load_systems(config.training.training_data, config.model.type_map, ())
    stat = neighbor_stat(systems, config.model.descriptor.rcut, config.model.type_map, mixed_type=True)
    return stat.min_nbor_dist if np.isfinite(stat.min_nbor_dist) else 0.0


def full_input(source: dict | str | os.PathLike, stage: str, first: Path) -> dict[str, Any]:
    """The input of a stage with the model of the hardware, as :func:`dpjax.train` takes it.

    Args:
        source: the short input of :func:`train_in_stages`, or one with a model.
        stage: which.
        first: folder of the first stage.

    Raises:
        ConfigError: the section ``nvnmd`` is missing, or lacks what the model follows from.
    """
    data = copy.deepcopy(source) if isinstance(source, dict) else read(Path(source))[0]
    short = data.get("nvnmd")
    if not isinstance(short, Mapping):
        raise ConfigError("nvnmd: missing; give version, max_nnei, sel, rcut, rcut_smth and type_map.")
    short = dict(short)
    version = short.get("version", 0)
    if "model" not in data:
        data["model"] = _model_section(short, version)
    files = {"config_file": CONFIG, "weight_file": WEIGHTS, "map_file": TABLES}
    quantized = stage == "s2"
    data["nvnmd"] = {
        "version": version,
        "max_nnei": short.get("max_nnei", 128),
        "net_size": short.get("net_size", 128),
        **{key: str(first / name) if quantized else "none" for key, name in files.items()},
        "enable": True,
        **dict.fromkeys(_FLAGS, quantized),
    }
    return data


def _model_section(short: dict[str, Any], version: int) -> dict[str, Any]:
    """The model that a short section stands for."""
    missing = [key for key in ("sel", "rcut", "rcut_smth", "type_map") if key not in short]
    if missing:
        raise ConfigError(
            f"nvnmd: {', '.join(missing)} missing; the model follows from sel, rcut, rcut_smth and type_map. Give them, or write a "
            "section model."
        )
    descriptor: dict[str, Any] = {key: short[key] for key in ("sel", "rcut", "rcut_smth")}
    descriptor |= {"seed": 1, "neuron": list(nvnmd.EMBEDDING), "axis_neuron": nvnmd.AXIS_NEURON, "resnet_dt": False}
    if version == 1:
        descriptor |= {"type": "se_atten", "tebd_input_mode": "strip", "attn_layer": 0, "tebd_dim": nvnmd.TYPE_VECTOR}
    else:
        descriptor |= {"type": "se_e2_a", "type_one_side": True}
    fitting = {"seed": 1, "neuron": [short.get("net_size", 128)] * 3, "resnet_dt": False}
    return {"type_map": short["type_map"], "descriptor": descriptor, "fitting_net": fitting}
