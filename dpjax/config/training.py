"""The ``training`` and ``validating`` sections: data, length of the run, output."""

from __future__ import annotations

from dataclasses import dataclass

from dpjax.config import data
from dpjax.config.data import DataConfig
from dpjax.config.schema import REQUIRED, Option, to_dataclass
from dpjax.errors import ConfigError

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
    disp_file: str = "lcurve.out"
    disp_freq: int = 1000
    save_freq: int = 1000
    save_ckpt: str = "model.ckpt"
    max_ckpt_keep: int = 5
    disp_training: bool = True
    time_training: bool = True
    disp_avg: bool = False
    gradient_max_norm: float | None = None  # None or 0: no clipping
    enable_compile: bool = False  # asks for what XLA does anyway


def argument() -> Option:
    """The ``training`` argument."""
    multi = "training several models at once"
    return Option(
        "training",
        dict,
        "Data, length and output of the training run.",
        REQUIRED,
        sub_fields=[
            data.training_argument(),
            data.validation_argument(),
            *_length_options(),
            *_output_options(),
            *_numeric_options(),
            *_later_options(),
        ],
        planned={"data_dict": multi, "model_prob": multi, "num_epoch_dict": multi},
    )


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
        Option(
            "stat_file",
            str,
            "Where statistics of the data are kept for the next run: a folder, or a file ending in .h5 or .hdf5.",
        ),
        Option("disp_file", str, "File of the learning curve.", "lcurve.out"),
        Option("disp_freq", int, "Steps between two lines of the learning curve.", 1000),
        Option("save_freq", int, "Steps between two checkpoints.", 1000),
        Option("save_ckpt", str, "Name that checkpoints start with.", "model.ckpt"),
        Option("max_ckpt_keep", int, "How many checkpoints stay; older ones are removed.", 5),
        Option("disp_training", bool, "Whether to write the learning curve.", True),
        Option("time_training", bool, "Whether to report how long steps take.", True),
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
            "Compile the training step. dpjax always does, with XLA, so both values mean the same here.",
            False,
        ),
    ]


def _later_options() -> list[Option]:
    average = "the moving average of the parameters"
    prof = "profiling from the input file"
    return [
        Option("enable_ema", bool, "Keep a moving average of the parameters.", False, not_built=average),
        Option("ema_decay", float, "How slowly that average forgets. Used with enable_ema.", 0.999),
        Option("ema_ckpt_keep", int, "How many checkpoints of the average stay. Used with enable_ema.", 3),
        Option(
            "mixed_precision",
            dict,
            "Compute in a lower precision than the parameters have.",
            not_built="mixed precision",
        ),
        Option(
            "change_bias_after_training",
            bool,
            "Shift the energy bias to the training data after the last step.",
            False,
            not_built="the change of the bias after training",
        ),
        Option("profiling", bool, "Write a profile of the run.", False, not_built=prof),
        Option("profiling_file", str, "Name of that profile. Used with profiling.", "timeline.json"),
        Option("enable_profiler", bool, "Write a profile for TensorBoard.", False, not_built=prof),
        Option("tensorboard", bool, "Write the learning curve for TensorBoard.", False, not_built="TensorBoard output"),
        Option("tensorboard_log_dir", str, "Folder for TensorBoard. Used with tensorboard.", "log"),
        Option("tensorboard_freq", int, "Steps between two entries for TensorBoard. Used with tensorboard.", 1),
        Option(
            "acc_freq",
            int,
            "Steps whose gradients are added up before one update.",
            1,
            not_built="gradient accumulation",
        ),
        Option(
            "zero_stage",
            int,
            "How much of the training state is split over devices (0 to 3).",
            0,
            not_built="ZeRO sharding",
        ),
    ]


def validating_argument() -> Option:
    """The ``validating`` argument; nothing in it takes effect before ``full_validation`` is built."""
    full = "validation on all frames of the validation data"
    return Option(
        "validating",
        dict,
        "Validation on all frames, apart from the one in the learning curve.",
        {},
        sub_fields=[
            Option("full_validation", bool, "Whether to do it.", False, not_built=full),
            Option("ema_full_validation", bool, "Do the same with the averaged parameters.", False, not_built=full),
            Option("validation_freq", int, "Steps between two of them. Used with full_validation.", 5000),
            Option("save_best", bool, "Keep the best checkpoints. Used with full_validation.", True),
            Option("max_best_ckpt", int, "How many of them. Used with full_validation.", 1),
            Option(
                "validation_metric",
                str,
                "What is best: E, F or V, then :MAE or :RMSE. Used with full_validation.",
                "E:MAE",
            ),
            Option("full_val_file", str, "File for the results. Used with full_validation.", "val.log"),
            Option(
                "full_val_start",
                [int, float],
                "First step, or a fraction of all steps if below 1; 1 never starts. Used with full_validation.",
                0.5,
            ),
            Option(
                "compiled_infer",
                bool,
                "Compile the evaluation. dpjax always does, so both values mean the same here.",
                False,
            ),
        ],
    )


def parse(section: dict, path: str = "training") -> TrainingConfig:
    """The checked dataclass of a normalised ``training`` section.

    Raises:
        ConfigError: where keys are missing for a training run or contradict each other.
    """
    training_data = section.get("training_data")
    if training_data is None:
        raise ConfigError(
            f"{path}/training_data: missing; it is required. Name the systems to train on in training_data/systems."
        )
    validation = section.get("validation_data")
    plain = {k: v for k, v in section.items() if k not in ("training_data", "validation_data")}
    plain["training_data"] = data.parse(training_data, f"{path}/training_data")
    plain["validation_data"] = None if validation is None else data.parse(validation, f"{path}/validation_data")
    cfg = to_dataclass(TrainingConfig, plain)
    _check(cfg, path)
    return cfg


def _check(cfg: TrainingConfig, path: str) -> None:
    if (cfg.numb_steps is None) == (cfg.numb_epoch is None):
        given = "neither" if cfg.numb_steps is None else "both"
        raise ConfigError(
            f"{path}/numb_steps: found {given} of numb_steps and numb_epoch; give exactly one, for example "
            '"numb_steps": 100000.'
        )
    if cfg.numb_steps is not None and cfg.numb_steps < 0:
        raise ConfigError(f"{path}/numb_steps: found {cfg.numb_steps}; it must not be negative.")
    if cfg.numb_epoch is not None and cfg.numb_epoch <= 0:
        raise ConfigError(f"{path}/numb_epoch: found {cfg.numb_epoch}; it must be positive.")
    for key in ("disp_freq", "save_freq", "max_ckpt_keep"):
        if getattr(cfg, key) < 1:
            raise ConfigError(f"{path}/{key}: found {getattr(cfg, key)}; it must be at least 1.")
    if cfg.gradient_max_norm is not None and cfg.gradient_max_norm < 0:
        raise ConfigError(
            f"{path}/gradient_max_norm: found {cfg.gradient_max_norm}; it must not be negative (0: no clipping)."
        )
