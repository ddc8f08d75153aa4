"""The ``training`` section: data, length of the run, output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config import data
from dpjax.config.checks import check_at_least, check_choice, check_positive
from dpjax.config.data import DataConfig
from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Context, Option, parsed
from dpjax.config.suggestions import join

_STEP_ALIASES = ["stop_batch", "num_step", "num_steps", "numb_step"]
_EPOCH_ALIASES = ["num_epochs", "num_epoch", "numb_epochs"]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How long to train on what, and what to write; exactly one of numb_steps and numb_epoch is set."""

    training_data: DataConfig
    validation_data: DataConfig | None = None
    numb_steps: int | None = None
    numb_epoch: float | None = None
    seed: int | None = None
    stat_file: str | None = None
    stat_file_mode: str = "update"
    disp_file: str = "lcurve.out"
    disp_freq: int = 1000
    save_freq: int = 1000
    save_ckpt: str = "model.ckpt"
    save_dir: str | None = None
    max_ckpt_keep: int = 5
    ckpt_keep_ratio: float | None = None  # overrides max_ckpt_keep and ema_ckpt_keep
    disp_training: bool = True
    time_training: bool = True
    disp_avg: bool = False
    gradient_max_norm: float | None = None  # None or 0: no clipping
    enable_ema: bool = False
    ema_decay: float = 0.999
    ema_ckpt_keep: int | None = 3
    mixed_precision: dict | None = None
    change_bias_after_training: bool = False
    profiling: bool = False
    profiling_file: str = "timeline.json"
    enable_profiler: bool = False
    tensorboard: bool = False
    tensorboard_log_dir: str = "log"
    tensorboard_freq: int = 1
    acc_freq: int = 1
    zero_stage: int = 0
    enable_tf32: bool = False


def argument(multi_task: bool = False) -> Option:
    """The ``training`` argument, of one task or of several."""
    return Option(
        "training",
        dict,
        "Data, length and output of the training run.",
        REQUIRED,
        sub_fields=[
            *(_task_options() if multi_task else _data_options()),
            *_length_options(),
            *_output_options(),
            *_numeric_options(),
            *_later_options(),
            *_newer_options(),
        ],
    )


def _data_options() -> list[Option]:
    return [data.training_argument(), data.validation_argument(), *_statistics_options()]


def _statistics_options() -> list[Option]:
    return [
        Option(
            "stat_file",
            str,
            "Where statistics of the data are kept for the next run: a folder, or a file ending in .h5 or .hdf5.",
        ),
        Option(
            "stat_file_mode",
            str,
            "`update` adds missing statistics to stat_file; `read` only reads them, and stops where some are missing.",
            neutral="update",
            used_with="stat_file",
            newer=True,
        ),
    ]


def _task_options() -> list[Option]:
    return [
        Option(
            "data_dict",
            dict,
            "The data of each task, by the name its model has in model_dict.",
            REQUIRED,
            sub_fields=_data_options(),
            repeat=True,
        ),
        Option(
            "model_prob",
            dict,
            "How often each task is drawn, as weights by name; without it, by the number of systems of each.",
            {},
        ),
        Option(
            "num_epoch_dict",
            dict,
            "Passes through the data of each task, by name, fractions allowed; instead of numb_steps and model_prob.",
            {},
        ),
    ]


def _length_options() -> list[Option]:
    return [
        Option(
            "numb_steps",
            int,
            "Number of training steps, one batch each; not together with numb_epoch.",
            alias=_STEP_ALIASES,
        ),
        Option(
            "numb_epoch",
            [int, float],
            "Length of the training in passes through the data, fractions allowed: so many steps that each system is "
            "drawn about "
            "that often.",
            alias=_EPOCH_ALIASES,
        ),
        Option(
            "seed",
            [int, None],
            "Seed of the order in which frames are drawn; absent or null picks a new one for each run.",
        ),
    ]


def _output_options() -> list[Option]:
    return [
        Option("disp_file", str, "File of the learning curve.", "lcurve.out"),
        Option("disp_freq", int, "Steps between two lines of the learning curve.", 1000),
        Option("save_freq", int, "Steps between two checkpoints.", 1000),
        Option("save_ckpt", str, "Name that checkpoints start with.", "model.ckpt"),
        Option("max_ckpt_keep", int, "How many checkpoints stay; older ones are removed.", 5),
        Option("disp_training", bool, "Whether to write the learning curve.", True),
        Option("time_training", bool, "Whether the progress shown during a run says how long steps take.", True),
        Option(
            "disp_avg",
            bool,
            "Average training errors over the interval between two lines of the learning curve.",
            False,
        ),
    ]


def _numeric_options() -> list[Option]:
    return [
        Option(
            "gradient_max_norm",
            float,
            "Scale the gradient down to this length when it is longer; 0 or absent leaves it alone.",
        ),
        Option(
            "enable_compile",
            bool,
            "Compile the training step. dpjax always does, so both values mean the same here.",
            False,
            no_effect="the training step is always compiled, by XLA",
        ),
    ]


def _later_options() -> list[Option]:
    return [
        Option("enable_ema", bool, "Keep a moving average of the parameters.", False),
        Option(
            "ema_decay", float, "How slowly that average forgets; at least 0, below 1.", 0.999,
            used_with="enable_ema",
        ),
        Option(
            "ema_ckpt_keep", int, "How many checkpoints of the average stay.", 3,
            used_with="enable_ema", also=[None],  # DeePMD-kit 3.2 writes null: as max_ckpt_keep
        ),
        _mixed_precision(),
        Option(
            "change_bias_after_training",
            bool,
            "Shift the energy bias to the training data after the last step.",
            False,
        ),
        Option("profiling", bool, "Write a profile of twenty steps in Chrome's trace format.", False),
        Option("profiling_file", str, "Name of that profile.", "timeline.json", used_with="profiling"),
        Option("enable_profiler", bool, "Write a profile of twenty steps for TensorBoard.", False),
        Option("tensorboard", bool, "Write loss and errors of steps for TensorBoard.", False),
        Option(
            "tensorboard_log_dir", str, "Folder for TensorBoard.", "log", used_with="tensorboard"
        ),
        Option(
            "tensorboard_freq", int, "Steps between two entries for TensorBoard.", 1,
            used_with="tensorboard",
        ),
        Option(
            "acc_freq", int,
            "Steps whose gradients are added up before one update. The learning rate follows the updates.", 1,
        ),
        Option(
            "zero_stage", int,
            "What is split over the devices that train together: 0 nothing, 1 the optimizer's state, 2 also gradients, 3 also "
            "parameters. Results do not depend on it.", 0,
        ),
    ]  # fmt: skip


def _mixed_precision() -> Option:
    return Option(
        "mixed_precision",
        dict,
        "Compute networks in a shorter precision than their parameters have.",
        sub_fields=[
            Option(
                "output_prec",
                str,
                "Precision of the results of the networks and of the parameters; that of the networks of the model.",
                "float32",
            ),
            Option("compute_prec", str, "Precision inside the networks: float16 or bfloat16.", REQUIRED),
        ],
    )


def _newer_options() -> list[Option]:
    return [
        Option(
            "save_dir", [str, None], "Folder for checkpoints and the file that names the newest, inside the one of --output.",
            newer=True,
        ),
        Option(
            "ckpt_keep_ratio", [float, None],
            "Keep the checkpoints of this last part of the run, a fraction of it, in the place of max_ckpt_keep and ema_ckpt_keep.",
            newer=True,
        ),
        Option(
            "neighbor_graph_method", str, "How DeePMD-kit searches neighbours on a GPU: auto, dense or nv.",
            neutral="auto", no_effect="neighbours of the training data are searched once, before training", newer=True,
        ),
        Option(
            "enable_tf32", bool, "Multiply float32 matrices of the training steps in TF32 on an NVIDIA GPU; without it with all "
            "digits. Elsewhere it changes nothing.", newer=True,
        ),
    ]  # fmt: skip


def parse(section: dict, path: str, context: Context) -> TrainingConfig | None:
    """The dataclass of a normalised ``training`` section of one task; None where something in it is wrong."""
    if section.get("training_data") is None:
        text = "missing; it is required. Name the systems to train on in training_data/systems."
        context.report.add(join(path, "training_data"), text)
    parts = {
        key: data.parse(section[key], join(path, key), context)
        for key in ("training_data", "validation_data")
        if section.get(key) is not None
    }
    return parsed(TrainingConfig, _check, section, path, context, parts)


def parse_tasks(section: dict, path: str, context: Context) -> None:
    """Checks a normalised ``training`` section of several tasks."""
    for name, task in section.get("data_dict", {}).items():
        here = join(path, f"data_dict/{name}")
        for key in ("training_data", "validation_data"):
            if task.get(key) is not None:
                data.parse(task[key], join(here, key), context)
        if task.get("training_data") is None:
            context.report.add(join(here, "training_data"), "missing; every task needs data to train on.")
    parsed(TrainingConfig, _check_numbers, section, path, context, {"training_data": None})


def _check(cfg: TrainingConfig, path: str, context: Context) -> Iterator[Problem]:
    if (cfg.numb_steps is None) == (cfg.numb_epoch is None):
        given = "neither" if cfg.numb_steps is None else "both"
        text = f'found {given} of numb_steps and numb_epoch; give exactly one, for example "numb_steps": 100000.'
        yield Problem(join(path, "numb_steps"), text)
    yield from check_at_least(cfg, 0, ["numb_steps"], path)
    yield from check_positive(cfg, ["numb_epoch"], path)
    yield from check_choice(cfg.stat_file_mode, ("update", "read"), join(path, "stat_file_mode"))
    if cfg.stat_file_mode == "read" and not cfg.stat_file:
        text = "found 'read', but there is no stat_file to read. Name it, or leave this out."
        yield Problem(join(path, "stat_file_mode"), text)
    yield from _check_numbers(cfg, path, context)


def _check_numbers(cfg: TrainingConfig, path: str, context: Context) -> Iterator[Problem]:
    """The rules that trainings of one task and of several share."""
    keys = ["disp_freq", "save_freq", "max_ckpt_keep", "ema_ckpt_keep", "tensorboard_freq", "acc_freq"]
    yield from check_at_least(cfg, 1, keys, path)
    if cfg.gradient_max_norm is not None and cfg.gradient_max_norm < 0:
        text = f"found {cfg.gradient_max_norm}; it must not be negative (0: no clipping)."
        yield Problem(join(path, "gradient_max_norm"), text)
    if cfg.ckpt_keep_ratio is not None and not 0 < cfg.ckpt_keep_ratio < 1:
        text = f"found {cfg.ckpt_keep_ratio}; it is a part of the run, between 0 and 1 and neither of them."
        yield Problem(join(path, "ckpt_keep_ratio"), text)
    if not 0 <= cfg.ema_decay < 1:
        yield Problem(join(path, "ema_decay"), f"found {cfg.ema_decay}; it must be at least 0 and less than 1.")
    if not 0 <= cfg.zero_stage <= 3:
        yield Problem(join(path, "zero_stage"), f"found {cfg.zero_stage}; choose 0, 1, 2 or 3.")
    if cfg.mixed_precision is not None:
        here = join(path, "mixed_precision")
        yield from check_choice(
            cfg.mixed_precision["compute_prec"], ("float16", "bfloat16"), join(here, "compute_prec")
        )
        yield from check_choice(cfg.mixed_precision["output_prec"], ("float32", "float64"), join(here, "output_prec"))
