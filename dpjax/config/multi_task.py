"""Inputs for several tasks: ``model_dict``, ``shared_dict``, ``loss_dict``, ``data_dict``, ``model_prob``, ``num_epoch_dict``.

A branch of ``model_dict`` may name an entry of ``shared_dict`` instead of writing out its ``type_map``, ``descriptor`` or
``fitting_net``; ``name:1`` shares less of it (0, the default, shares all).  For checking, the names are replaced by what they
stand for; in the normalised input they stand again, so that it means the same when it is read once more.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from dpjax.config import models, training
from dpjax.config.losses import LOSSES
from dpjax.config.models.common import common_options
from dpjax.config.problems import Problem, Report
from dpjax.config.schema import REQUIRED, Context, Option
from dpjax.config.suggestions import did_you_mean, found, join, show
from dpjax.config.walk import is_comment

log = logging.getLogger(__name__)

SHAREABLE = ("type_map", "descriptor", "fitting_net")
_BRANCHES = "model/model_dict"


@dataclass
class Sharing:
    """Where names stood for entries of ``shared_dict``.

    Attributes:
        names: path of the place below ``model/model_dict`` to the text that stood there.
        lowered: paths of keys that stood once in ``model``, for all branches.
    """

    names: dict[str, str] = field(default_factory=dict)
    lowered: set[str] = field(default_factory=set)

    def written_at(self, path: str) -> str:
        """Where the user wrote what is checked at ``path``."""
        for place, text in self.names.items():
            if path == place or path.startswith(f"{place}/"):
                return f"model/shared_dict/{_entry(text)}{path[len(place) :]}"
        for place in self.lowered:
            if path == place or path.startswith(f"{place}/"):
                return f"model/{path.split('/', 3)[3]}"
        return path


def is_multi_task(data: dict[str, Any]) -> bool:
    """Whether an input has several models."""
    return isinstance(data.get("model"), dict) and "model_dict" in data["model"]


def model_argument() -> Option:
    """The ``model`` argument of an input with several models."""
    return Option(
        "model",
        dict,
        "The models to train together, and what they share.",
        REQUIRED,
        sub_fields=[
            Option(
                "model_dict",
                dict,
                "The models by name; each is written like the model of a training of one model, and may name entries of "
                "shared_dict as its type_map, descriptor or fitting_net.",
                REQUIRED,
                sub_fields=common_options(),
                sub_variants=[models.MODELS.variant()],
                repeat=True,
            ),
            Option(
                "shared_dict",
                dict,
                "Type maps, descriptors and fitting nets that several models have in common, by a name of your choice.",
                {},
            ),
        ],
    )


def loss_argument() -> Option:
    """The ``loss_dict`` argument."""
    return Option(
        "loss_dict",
        dict,
        "The loss of each task, by the name its model has in model_dict.",
        sub_variants=[LOSSES.variant()],
        repeat=True,
    )


def resolved(data: dict[str, Any], report: Report) -> Sharing:
    """Replaces, in place, the names in the branches by what they stand for; ``report`` takes names that stand for nothing."""
    model, sharing = data["model"], Sharing()
    branches = model["model_dict"]
    if not isinstance(branches, dict):
        return sharing
    branches = {k: v for k, v in branches.items() if not is_comment(str(k), {})}
    _lower(model, branches, sharing)
    shared = model.get("shared_dict", {})
    if not isinstance(shared, dict):
        return sharing
    for name, branch in branches.items():
        for holder, key, path in _places(branch, join(_BRANCHES, name)):
            if isinstance(holder[key], str):
                _resolve_one(holder, key, path, shared, sharing, report)
    named = {_entry(text) for text in sharing.names.values()}
    for name in shared:
        if name not in named and not is_comment(str(name), {}):
            log.warning("model/shared_dict/%s: no model names it, so it has no effect", name)
    return sharing


def _lower(model: dict[str, Any], branches: dict[str, Any], sharing: Sharing) -> None:
    """What stands beside ``model_dict`` holds for every branch that does not say otherwise."""
    common = [k for k in model if k not in ("model_dict", "shared_dict") and not is_comment(str(k), {})]
    for key in common:
        value = model.pop(key)
        for name, branch in branches.items():
            if isinstance(branch, dict) and key not in branch:
                branch[key] = copy.deepcopy(value)
                sharing.lowered.add(f"{_BRANCHES}/{name}/{key}")


def _places(branch: Any, path: str) -> Iterator[tuple[Any, Any, str]]:
    """(container, key, path) of everything in a branch that may be a name; parts of a hybrid descriptor are, too."""
    if not isinstance(branch, dict):
        return
    for key in SHAREABLE:
        if key in branch:
            yield branch, key, join(path, key)
    descriptor = branch.get("descriptor")
    if isinstance(descriptor, dict) and isinstance(descriptor.get("list"), list):
        for i in range(len(descriptor["list"])):
            yield descriptor["list"], i, f"{path}/descriptor/list/{i}"


def _resolve_one(holder: Any, key: Any, path: str, shared: dict, sharing: Sharing, report: Report) -> None:
    text = holder[key]
    name, colon, level = text.rpartition(":") if ":" in text else (text, "", "0")
    if name not in shared:
        known = f" It has: {', '.join(map(str, shared))}." if shared else ""
        report.add(path, f"found {text!r}, but model/shared_dict has no such entry.{did_you_mean(name, shared)}{known}")
        del holder[key]
    elif not level.isdigit():
        report.add(path, f"found {text!r}; after the colon stands how much is shared, a whole number such as 0 or 1.")
        holder[key] = copy.deepcopy(shared[name])
    else:
        holder[key] = copy.deepcopy(shared[name])
        sharing.names[path] = text


def _entry(text: str) -> str:
    return text.rpartition(":")[0] or text


def shared_again(raw: dict[str, Any], sharing: Sharing) -> None:
    """Puts the names back, in place, and the normalised sections into ``shared_dict``."""
    shared = raw["model"].setdefault("shared_dict", {})
    for path, text in sharing.names.items():
        holder: Any = raw
        *parents, key = path.split("/")
        for part in parents:
            holder = holder[int(part) if isinstance(holder, list) else part]
        at = int(key) if isinstance(holder, list) else key
        shared[_entry(text)] = holder[at]
        holder[at] = text


def check(raw: dict[str, Any], context: Context) -> None:
    """Notes what is wrong in the sections of an input whose names are replaced, and between them."""
    report = context.report
    branches = raw.get("model", {}).get("model_dict", {})
    for name, section in branches.items():
        here = join(_BRANCHES, name)
        models.parse(section, here, context)
        if section.get("lora") is not None:
            report.add(
                join(here, "lora"),
                "low-rank adapters belong to one model; they cannot be shared by tasks. Remove the key.",
            )
    for name, section in raw.get("loss_dict", {}).items():
        LOSSES.parse(section, join("loss_dict", name), context)
    _check_type_maps(branches, report)
    training_section = raw.get("training", {})
    training.parse_tasks(training_section, "training", context)
    report.extend(_check_training(training_section))
    if not branches:  # wrong, and reported
        return
    if "loss_dict" in raw:
        report.extend(_check_names(raw["loss_dict"], list(branches), "loss_dict", "a loss"))
    for key, what in (("data_dict", "data"), ("model_prob", "a weight"), ("num_epoch_dict", "a number of epochs")):
        if training_section.get(key):
            report.extend(_check_names(training_section[key], list(branches), f"training/{key}", what))


def _check_names(section: dict, names: list[str], path: str, what: str) -> Iterator[Problem]:
    for name in section:
        if name not in names:
            known = f"Models: {', '.join(names)}."
            yield Problem(
                join(path, name), f"no model in model_dict has this name.{did_you_mean(str(name), names)} {known}"
            )
    for name in names:
        if name not in section:
            yield Problem(join(path, name), f"missing; every model in model_dict needs {what}.")


def _check_type_maps(branches: dict[str, Any], report: Report) -> None:
    """Shared parameters belong to types, so all branches must mean the same types."""
    maps = {
        name: section.get("type_map") for name, section in branches.items() if not report.touches(join(_BRANCHES, name))
    }
    first = next(iter(maps), None)
    for name, type_map in maps.items():
        if type_map != maps[first]:
            text = (
                f"found {show(type_map)}, but {first} has {show(maps[first])}. All models must have one type_map; put it into "
                "shared_dict."
            )
            report.add(f"{_BRANCHES}/{name}/type_map", text)


def _check_training(section: dict) -> Iterator[Problem]:
    steps, epochs = section.get("numb_steps"), section.get("num_epoch_dict")
    if section.get("numb_epoch") is not None:
        text = f"{found(section['numb_epoch'])}, but tasks have numbers of epochs of their own. Use num_epoch_dict."
        yield Problem("training/numb_epoch", text)
    elif steps is None and not epochs:
        yield Problem("training/numb_steps", "found neither numb_steps nor num_epoch_dict; give one of them.")
    elif steps is not None and epochs:
        yield Problem(
            "training/num_epoch_dict", f"found together with numb_steps {steps}; they exclude each other. Keep one."
        )
    if epochs and section.get("model_prob"):
        text = "found together with num_epoch_dict, from which the weights follow. Keep one."
        yield Problem("training/model_prob", text)
    for key in ("model_prob", "num_epoch_dict"):
        for name, value in section.get(key, {}).items():
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < float("inf"):
                yield Problem(f"training/{key}/{name}", f"{found(value)}, expected a number that is not negative.")


def arguments() -> list[Option]:
    """The arguments that an input with several models has in place of ``model``, ``loss`` and ``training``."""
    return [model_argument(), loss_argument(), training.argument(multi_task=True)]


def own_options() -> list[tuple[str, Option]]:
    """(path, option) of what only such an input has; what stands inside is the same as in an input with one model."""
    run = training.argument(multi_task=True).sub_fields
    return [
        *((f"model/{name}", option) for name, option in model_argument().sub_fields.items()),
        ("loss_dict", loss_argument()),
        *((f"training/{name}", run[name]) for name in ("data_dict", "model_prob", "num_epoch_dict")),
    ]
