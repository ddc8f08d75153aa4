"""``dpjax.train``: the front door of the training loop, with the readers it needs handed in from here."""

from __future__ import annotations

import os
from pathlib import Path

from dpjax.interfaces.files import load
from dpjax.training.run import TrainResult, run


def train(
    config: dict | str | os.PathLike,
    output: str | os.PathLike = ".",
    *,
    restart: bool | str | os.PathLike | None = None,
    init_model: str | os.PathLike | None = None,
) -> TrainResult:
    """Train a model.

    Args:
        config: a DeePMD-kit input as a dict, or the path of a JSON or YAML file.
        output: folder for ``lcurve.out``, ``out.json`` and the checkpoints.
        restart: True to go on with the newest checkpoint in ``output``, or the path of one.
        init_model: model or checkpoint whose parameters and statistics to start from.

    Returns:
        ``metrics`` (last row of the learning curve), ``checkpoint``, ``steps``, ``seconds``.

    Raises:
        ConfigError, DataError: the input or the data is wrong; the message names the key or file.
        NonFiniteError: the loss became NaN or infinite; earlier checkpoints stay.
        OutputError: ``output`` cannot be written.
    """
    initial = None
    if init_model is not None:
        potential = load(init_model)
        initial = (potential.config, potential.variables)
    return run(config, Path(output), restart=restart, initial=initial)
