"""A prepared training, its variables replaced by those of a pretrained model, and its bias fitted to the new data."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dpjax import losses
from dpjax.config import ModelConfig, parse_model
from dpjax.config.descriptors import DESCRIPTORS
from dpjax.descriptors import has_type_networks, members
from dpjax.errors import ConfigError, OutputError
from dpjax.finetune.remap import ADVICE, UNORDERED, remapped
from dpjax.finetune.report import Row, summary, table
from dpjax.finetune.sections import in_our_types, require_like_spins
from dpjax.finetune.types import TypeChange
from dpjax.training.adoption import changed_settings
from dpjax.training.bias import drawn_batches, shifted_bias
from dpjax.training.devices import place_state, stacked
from dpjax.training.ensemble import member_of
from dpjax.training.preparation import output_preset, output_scale
from dpjax.training.programs import Programs
from dpjax.training.setup import TrainingSetup

log = logging.getLogger(__name__)


def report_name(task: str = "") -> str:
    """The file in the output folder that says of every array where it came from."""
    return f"finetune_{task}.out" if task else "finetune.out"


@dataclass(frozen=True)
class Pretrained:
    """A model to train on from.

    Attributes:
        name: its file, for messages.
        config: its configuration.
        variables: its ``params`` and ``stats``.
        new_head: leave its fitting net and bias behind.
        unchanged: leave its bias as it is.
        fill: what it lacks is as in a fresh model.
    """

    name: str
    config: ModelConfig
    variables: dict[str, Any]
    new_head: bool = False
    unchanged: bool = False
    fill: bool = False


def require_networks(config: Any, what: str) -> None:
    """Raise for a model that cannot be fine-tuned, or start from.

    Raises:
        ConfigError: it is made of parts, or has a pair table.
    """
    if isinstance(config, ModelConfig) and config.use_srtab is None:
        return
    kind = "has a pair table (use_srtab)" if isinstance(config, ModelConfig) else f"is of type {config.type!r}"
    raise ConfigError(
        f"finetune: {what} {kind}; only models of one descriptor and one fitting net are fine-tuned. To go on with such a model, "
        "use --init-model; to keep a model as it is beside one that is trained, make it a frozen part of a linear_ener model."
    )


def tuned(setup: TrainingSetup, pretrained: Pretrained, report: Path) -> TrainingSetup:
    """The same training, which starts from the pretrained model.

    The descriptor is that of the pretrained model.  So is the fitting net, and the bias is shifted to what the model leaves of the
    labels, unless it is to be left unchanged; or, with a new head, both are those of ``setup``: fresh, with the bias of the data.

    Args:
        setup: with fresh variables and the statistics of the training data.
        report: the file that says of every array where it came from.

    Raises:
        ConfigError: the input describes another model.
        OutputError: the report cannot be written.
    """
    config = setup.config.model
    require_networks(config, "the model of the input")
    require_networks(pretrained.config, pretrained.name)
    _compare(config, pretrained)
    fresh = {**setup.variables, "stats": setup.variables["stats"] | _start(config, pretrained)}
    fresh = setup.variables if pretrained.new_head else fresh
    variables, rows = _moved(pretrained, config, fresh, setup.members)
    setup = _with_variables(setup, variables)
    if not pretrained.new_head and not pretrained.unchanged:
        setup, rows = _shifted(setup, rows)
    types = TypeChange(pretrained.config.data_types, config.data_types)
    log.info("fine-tuning from %s, types %s%s", pretrained.name, " ".join(types.ours), _new_text(types))
    for line in summary(rows):
        log.info("fine-tuning: %s", line)
    _write(report, pretrained.name, rows)
    return setup


def _moved(pretrained: Pretrained, config: ModelConfig, fresh: dict[str, Any], members: int) -> tuple[Any, list[Row]]:
    """:func:`remapped` for the model, or for each of an ensemble, which share a descriptor and have heads of their own.

    Raises:
        ConfigError: an ensemble without new heads.
    """
    if members > 1 and not pretrained.new_head:
        raise ConfigError(
            f"dpjax/ensemble: found {members}, but with the parameters of one pretrained model all members would be alike. Give "
            "them new heads with finetune_head RANDOM, or fine-tune a single model."
        )
    each = [
        remapped(
            pretrained.config, config, pretrained.variables, own, new_head=pretrained.new_head, fill=pretrained.fill
        )
        for own in (
            [fresh] if members == 1 else [fresh | {"params": member_of(fresh["params"], i)} for i in range(members)]
        )
    ]
    variables, rows = each[0]
    if members > 1:
        variables = variables | {"params": stacked([own["params"] for own, _ in each])}
    return variables, rows


def _new_text(types: TypeChange) -> str:
    return f" of which new: {' '.join(types.new)}" if types.new else ""


def _compare(config: ModelConfig, pretrained: Pretrained) -> None:
    """Warns of settings that differ and leave all shapes as they are; other parts cannot be compared at all.

    Raises:
        ConfigError: another kind of descriptor or fitting net, or other widths.
    """
    if config.direct_forces or pretrained.config.direct_forces:
        raise ConfigError(
            "loss/type: models that give their forces directly (loss dens) are not fine-tuned. Go on with such a model by "
            "--init-model, with the same types and the loss dens."
        )
    require_like_spins(config, pretrained.config)
    if config.nvnmd is not None or pretrained.config.nvnmd is not None:
        raise ConfigError(
            "nvnmd: models for the NVNMD hardware are not fine-tuned. Go on with such a model by --init-model, or start from its "
            "files by nvnmd/weight_file."
        )
    types = TypeChange(pretrained.config.data_types, config.data_types)
    kinds = [[DESCRIPTORS.name_of(part) for part in members(m.descriptor)] for m in (config, pretrained.config)]
    if kinds[0] != kinds[1]:
        ours, theirs = (" and ".join(names) for names in kinds)
        raise ConfigError(f"model/descriptor/type: found {ours}, but the model to start from has {theirs}. {ADVICE}")
    if "se_a_tpe" in kinds[0] and not types.unchanged:
        raise ConfigError(
            f"model/type_map: found {list(types.ours)}, but the pretrained model has {list(types.theirs)}. The vectors of se_a_tpe "
            "follow from a type's place among all types, so no type would keep its own. Keep the types of the pretrained model."
        )
    theirs = parse_model(in_our_types(pretrained.config, types, config))
    differences = changed_settings(config, theirs)
    if pretrained.new_head:
        differences = [text for text in differences if not text.startswith("model/fitting_net")]
    for text in differences:
        if text.split(":")[0].rpartition("/")[2] in SHAPING and not pretrained.fill:
            raise ConfigError(f"{text}. {ADVICE}")
    for text in (*differences, *_rescaled(config, pretrained.config)):
        log.warning("%s; the training goes on with the setting of this input", text)


SHAPING = (
    "type", "list", "neuron", "axis_neuron", "type_one_side", "attn", "attn_layer", "tebd_dim", "tebd_input_mode",
    "use_econf_tebd", "use_tebd_bias", "concat_output_tebd", "lmax", "resnet_dt", "numb_fparam", "numb_aparam",
    "dim_case_embd", "numb_dos", "task_dim", "fit_diag", "nlayers", "n_dim", "e_dim", "a_dim", "n_multi_edge_message",
    "update_angle", "g1_dim", "g2_dim", "use_three_body", "add_tebd_to_repinit_out", "add_chg_spin_ebd",
    "type_nchanl", "type_nlayer", "type_embedding",
)  # fmt: skip


def _rescaled(config: ModelConfig, theirs: ModelConfig) -> Iterator[str]:
    """Descriptors with networks per type that are divided by another number of neighbours than before."""
    for ours, other in zip(members(config.descriptor), members(theirs.descriptor), strict=False):
        summed = has_type_networks(ours) and type(ours).__name__ not in UNORDERED
        if summed and has_type_networks(other) and sum(ours.sel) != sum(other.sel):
            yield (
                f"model/descriptor/sel: adds up to {sum(ours.sel)}, in the pretrained model to {sum(other.sel)}; descriptors are "
                "divided by this number, so those of the same atoms become others"
            )


def _start(config: ModelConfig, pretrained: Pretrained) -> dict[str, np.ndarray]:
    """Bias and spread of new types before the bias is shifted: what is preset, else zero and one.

    Where one bias serves all types, it is that of the pretrained model.
    """
    shape = (len(config.type_map), config.fitting_net.output.size)
    if not getattr(config.fitting_net, "distinguish_types", True):
        stats = pretrained.variables["stats"]
        return {name: np.tile(np.asarray(stats[name])[:1], (shape[0], 1)) for name in ("out_bias", "out_std")}
    bias, scale = np.zeros(shape), output_scale(config)
    for t, given in enumerate(output_preset(config) or ()):
        bias[t] = 0.0 if given is None else np.ravel(given) / scale[t]
    return {"out_bias": bias, "out_std": np.ones(shape)}


def _with_variables(setup: TrainingSetup, variables: dict[str, Any]) -> TrainingSetup:
    """The training with other variables, of which the loss may know something."""
    config = setup.config
    facts = losses.model_facts(config.model, variables["stats"])
    loss = losses.from_config(config.loss, config.learning_rate.start_lr, **facts)
    return replace(setup, variables=variables, loss=loss)


def _shifted(setup: TrainingSetup, rows: list[Row]) -> tuple[TrainingSetup, list[Row]]:
    """The bias shifted to what the model leaves of the labels, where it has a bias and the data have such labels."""
    config, output = setup.config.model, setup.model.output
    if not output.biased or not any(system.found.get(output.label) for system in setup.training.systems):
        log.info("fine-tuning: the bias stays as it is: the data have no label for it, or the output has none")
        return setup, rows
    before = np.asarray(setup.variables["stats"]["out_bias"])
    params = place_state(setup.variables["params"], setup.mesh)
    batches = drawn_batches(setup.training, config.data_bias_nsample, setup.seed, output.label, setup.mesh)
    bias = shifted_bias(config, before, batches, partial(Programs(setup).totals, params))
    log.info("fine-tuning: the bias per type is now %s, was %s", bias.tolist(), before.tolist())
    variables = {**setup.variables, "stats": setup.variables["stats"] | {"out_bias": bias}}
    noted = [
        replace(row, note="; ".join(filter(None, (row.note, "then shifted to the data"))))
        if row.name == "stats.out_bias"
        else row
        for row in rows
    ]
    return _with_variables(setup, variables), noted


def _write(path: Path, name: str, rows: list[Row]) -> None:
    try:
        path.write_text(f"# fine-tuned from {name}\n{table(rows)}", encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"{path}: could not be written ({error.strerror or error}). Free disk space or choose another folder with --output."
        ) from error
