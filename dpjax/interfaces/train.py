"""``dpjax.train``: the front door of the training loop, with the readers it needs handed in from here."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

from dpjax.compress import refuse_compressed
from dpjax.config import ModelConfig, load_any
from dpjax.config.files import read
from dpjax.config.multi_task import is_multi_task
from dpjax.errors import ConfigError
from dpjax.finetune import (
    Pretrained,
    Start,
    chosen_start,
    report_name,
    require_networks,
    task_starts,
    tuned,
    with_pretrained_model,
    with_pretrained_models,
    with_pretrained_sel,
)
from dpjax.interfaces.files import branches, load, read_constant
from dpjax.interfaces.frozen import FROZEN, thawed
from dpjax.interfaces.modifiers import MODIFIERS
from dpjax.interfaces.nvnmd import start_of
from dpjax.training.constants import with_constants
from dpjax.training.everywhere import train_everywhere
from dpjax.training.run import TrainResult, Tuning, run
from dpjax.training.setup import TrainingSetup

Source = dict | str | os.PathLike


def train(
    config: Source,
    output: str | os.PathLike = ".",
    *,
    restart: bool | str | os.PathLike | None = None,
    init_model: str | os.PathLike | None = None,
    finetune: str | os.PathLike | None = None,
    model_branch: str | None = None,
    use_pretrain_script: bool = False,
    force_load: bool = False,
) -> TrainResult:
    """Train a model.

    Args:
        config: a DeePMD-kit input as a dict, or the path of a JSON or YAML file.
        output: folder for ``lcurve.out``, ``out.json`` and the checkpoints.
        restart: True to go on with the newest checkpoint in ``output``, or the path of one.
        init_model: model or checkpoint whose parameters and statistics to start from.
        finetune: model or checkpoint to fine-tune: the input may have other types, and the bias is fitted to its data.
            ``finetune.out`` in ``output`` says where each array came from.  Of an input of several tasks each names its branch by
            ``finetune_head``, has a new head without, or goes on as it was if the model has a branch of its name.
        model_branch: with ``finetune``, the branch to start from, before the input's ``finetune_head``; ``"RANDOM"`` for a new
            fitting net.
        use_pretrain_script: with ``finetune``, take the descriptor and the fitting net of that model in place of the input's;
            with ``init_model``, its whole model section.
        force_load: with ``init_model`` or ``finetune``, that model may lack arrays that the input's model has; these are then as in
            a new model, with statistics of the data, and a warning names them.

    Returns:
        ``metrics`` (last row of the learning curve), ``checkpoint``, ``steps``, ``seconds``.

    Raises:
        ConfigError, DataError: the input or the data is wrong; the message names the key or file.
        ModelError: the model to start from is missing, damaged, or none that this version reads.
        NonFiniteError: the loss became NaN or infinite; earlier checkpoints stay.
        OutputError: ``output`` cannot be written.
    """
    _refuse_contradictions(restart, init_model, finetune, model_branch, use_pretrain_script, force_load)
    config, constants = with_frozen(config)
    if finetune is not None:
        return _finetune(config, Path(output), Path(finetune), model_branch, use_pretrain_script, force_load)
    initial = None
    if init_model is not None:
        tasks = _tasks(config)
        if tasks:
            initial = {name: _initial(init_model, name) for name in tasks}
            if use_pretrain_script:
                theirs = {name: (model, False) for name, (model, _) in initial.items()}
                config = with_pretrained_models(_content(config), theirs, whole=True)
        else:
            initial = _initial(init_model)
            config = _with_model_of(config, initial[0]) if use_pretrain_script else config
    start, lacks = _from_files(config)
    if init_model is not None and start is not None:
        raise ConfigError(
            "init_model: the section nvnmd names files to start from (restore_descriptor, restore_fitting_net, "
            "quantize_descriptor). Give init_model, or these; not both."
        )
    if start is not None and not restart:
        initial, force_load = start, lacks
    tuning = _constant(constants) if constants and initial is None else None
    options = {"restart": restart, "initial": initial, "tuning": tuning, "fill": force_load}
    return train_everywhere(run, config, Path(output), modifiers=MODIFIERS, **options)


def with_frozen(config: Source) -> tuple[Source, dict[str | int, dict]]:
    """An input with the models of files in the places of frozen ones, and their variables by the name of the part.

    Raises:
        ModelError: a file cannot be read.
        ConfigError: its model cannot stand there.
    """
    data = _content(config)
    if isinstance(data, dict) and isinstance(data.get("model"), dict) and data["model"].get("type") == FROZEN:
        raise ConfigError(
            "model/type: found 'frozen', of which nothing is trained. Make it a part of a linear_ener model beside one that is, or "
            "take its file as it is, with dpjax.load or --init-model."
        )
    section, constants = thawed(data.get("model") if isinstance(data, dict) else None, read_constant)
    # the file itself, where nothing in it was replaced: messages then name its lines
    return ({**data, "model": section}, constants) if constants else (config, {})


def _constant(constants: dict[str | int, dict]) -> Tuning:
    """What becomes of a fresh training whose model has parts that stay as they are."""

    def tune(setup: TrainingSetup, task: str, output: Path) -> TrainingSetup:
        del task, output
        return with_constants(setup, constants)

    return tune


def _from_files(config: Source) -> tuple[tuple[ModelConfig, dict[str, Any]] | None, bool]:
    """What the section ``nvnmd`` says a training starts from, and whether that lacks parts, which are then as in a new model."""
    section = _content(config).get("nvnmd")
    if not isinstance(section, dict) or section.get("enable") is not True:
        return None, False
    start = start_of(load_any(config).first)
    return start, start is not None and not {"descriptor", "fitting_net"} <= start[1]["params"].keys()


def _tasks(config: Source) -> dict[str, Any]:
    """The sections of the tasks of an input as they are written; none of an input of one."""
    data = _content(config)
    return data["model"]["model_dict"] if is_multi_task(data) else {}


def _refuse_branch(branch: str | None) -> None:
    """One branch for all tasks."""
    if branch:
        raise ConfigError(
            f"model_branch: found {branch!r} for an input of several tasks, which say for themselves what they start from: write "
            "finetune_head into each branch of model/model_dict."
        )


def _initial(source: str | os.PathLike, head: str | None = None) -> tuple[ModelConfig, dict[str, Any]]:
    potential = load(source, head=head)
    refuse_compressed(potential.config, str(source))
    return potential.config, potential.variables


def _refuse_contradictions(
    restart: Any, init_model: Any, finetune: Any, branch: str | None, script: bool, force: bool
) -> None:
    starts = [
        name
        for name, given in (("restart", restart), ("init_model", init_model), ("finetune", finetune))
        if given is not None and given is not False
    ]
    if len(starts) > 1:
        raise ConfigError(
            f"{' and '.join(starts)} exclude each other: each says which parameters a training starts from. Give one of them."
        )
    if branch is not None and finetune is None:
        raise ConfigError(f"model_branch: found {branch!r}, but no model to fine-tune; give it with finetune.")
    if script and not {"finetune", "init_model"} & set(starts):
        raise ConfigError(
            "use_pretrain_script: takes the model section of a pretrained model, and none is given; add finetune or init_model."
        )

    if force and not {"finetune", "init_model"} & set(starts):
        raise ConfigError(
            "force_load: starts from a model that lacks some arrays, and none is given; add init_model or finetune. A restart "
            "needs every array, and the state of the optimizer for it."
        )


def _finetune(config: Source, output: Path, source: Path, branch: str | None, script: bool, force: bool) -> TrainResult:
    tasks = _tasks(config)
    if tasks:
        _refuse_branch(branch)
        starts = task_starts(tasks, str(source), branches(source))
        theirs = {name: _pretrained(source, start, force) for name, start in starts.items()}
        if script:
            models = {name: (own.config, own.new_head) for name, own in theirs.items()}
            config = with_pretrained_models(_content(config), models)
        tuning = _tuning(theirs)
        return train_everywhere(run, config, output, tuning=tuning, modifiers=MODIFIERS)
    data = _content(config)
    model = data.get("model")
    head = model.get("finetune_head") if isinstance(model, dict) else None
    pretrained = _pretrained(source, chosen_start(branch, head, str(source), branches(source)), force)
    require_networks(pretrained.config, str(source))
    changed = with_pretrained_model(data, pretrained.config, pretrained.new_head) if script else data
    changed = with_pretrained_sel(changed, pretrained.config)
    # the file itself, where nothing in it was replaced: messages then name its lines
    source = config if changed is data else changed
    return train_everywhere(run, source, output, tuning=_tuning({"": pretrained}), modifiers=MODIFIERS)


def _pretrained(source: Path, start: Start, force: bool) -> Pretrained:
    return Pretrained(str(source), *_initial(source, start.head), start.new_head, start.unchanged, force)


def _tuning(pretrained: dict[str, Pretrained]) -> Tuning:
    """What becomes of a fresh training, or of each of several tasks."""

    def tune(setup: TrainingSetup, task: str, output: Path) -> TrainingSetup:
        return tuned(setup, pretrained[task], output / report_name(task))

    return tune


def _with_model_of(config: Source, model: ModelConfig) -> dict:
    """The input with another model section, which says nothing of how it is to be corrected."""
    data, section = _content(config), copy.deepcopy(model.raw)
    own = data.get("model")
    lora = own.get("lora") if isinstance(own, dict) else None
    return {**data, "model": section if lora is None else section | {"lora": lora}}


def _content(config: Source) -> dict[str, Any]:
    """The input as it is written."""
    return copy.deepcopy(config) if isinstance(config, dict) else read(Path(config))[0]
