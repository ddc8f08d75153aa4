"""The ``validating`` section: validation on all frames of the validation data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.checks import check_at_least
from dpjax.config.problems import Problem
from dpjax.config.schema import Context, Option, parsed
from dpjax.config.suggestions import join, show


@dataclass(frozen=True, kw_only=True)
class ValidatingConfig:
    """When all validation frames are evaluated, and which checkpoints count as the best."""

    full_validation: bool = False
    ema_full_validation: bool = False
    validation_freq: int = 5000
    save_best: bool = True
    save_best_dir: str | None = None
    max_best_ckpt: int = 1
    validation_metric: str = "E:MAE"
    full_val_file: str = "val.log"
    full_val_start: float = 0.5  # a step, or a fraction of all steps below 1; 1 never starts
    tf32_infer: bool = False

    @property
    def active(self) -> bool:
        """Whether all frames are evaluated now and then, with the parameters, their averages, or both."""
        return self.full_validation or self.ema_full_validation


def argument() -> Option:
    """The ``validating`` argument."""
    rest = {"used_with": "full_validation"}
    return Option(
        "validating",
        dict,
        "Validation on all frames, apart from the one in the learning curve.",
        {},
        sub_fields=[
            Option("full_validation", bool, "Whether to evaluate all frames now and then.", False),
            Option(
                "ema_full_validation",
                bool,
                "Evaluate all frames with the averaged parameters, in addition or alone.",
                False,
            ),
            Option("validation_freq", int, "Steps between two full validations.", 5000, **rest),
            Option("save_best", bool, "Whether to keep the best checkpoints.", True, **rest),
            Option("max_best_ckpt", int, "How many of the best checkpoints stay.", 1, **rest),
            Option(
                "validation_metric",
                str,
                "What makes a checkpoint the best: a quantity (E, F, V) and MAE or RMSE, as in E:MAE.",
                "E:MAE",
                **rest,
            ),
            Option("full_val_file", str, "File for the results of full validations.", "val.log", **rest),
            Option(
                "full_val_start",
                [int, float],
                "First step with a full validation, or a fraction of all steps if below 1; 1 never starts.",
                0.5,
                **rest,
            ),
            Option(
                "compiled_infer",
                bool,
                "Compile the evaluation. dpjax always does, so both values mean the same here.",
                False,
                no_effect="evaluation is always compiled, by XLA",
            ),
            *_newer_options(),
        ],
    )


def _newer_options() -> list[Option]:
    return [
        Option(
            "save_best_dir", [str, None], "Folder for the best checkpoints, inside the one of --output.",
            used_with="full_validation", newer=True,
        ),
        Option(
            "tf32_infer", bool, "Multiply float32 matrices of validations in TF32 on an NVIDIA GPU.", newer=True
        ),
        Option(
            "amp_infer", bool, "Validate a model of type dpa4 in bfloat16.", neutral=False, not_built="validation in bfloat16",
            newer=True,
        ),
    ]  # fmt: skip


def parse(section: dict, path: str, context: Context) -> ValidatingConfig | None:
    """The dataclass of a normalised section; None where something in it is wrong."""
    return parsed(ValidatingConfig, _check, section, path, context)


def _check(cfg: ValidatingConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_at_least(cfg, 1, ["validation_freq", "max_best_ckpt"], path)
    yield from check_at_least(cfg, 0, ["full_val_start"], path)
    quantity, colon, measure = cfg.validation_metric.strip().upper().partition(":")
    if not colon or quantity not in _QUANTITIES or measure not in ("MAE", "RMSE"):
        text = f"found {show(cfg.validation_metric)}; write one of {', '.join(_QUANTITIES)}, a colon, and MAE or RMSE, as in E:MAE."
        yield Problem(join(path, "validation_metric"), text)


_QUANTITIES = ("E", "F", "V", "FM", "P")  # energy, force, virial, magnetic force, property
