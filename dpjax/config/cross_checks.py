"""Rules that join several sections of the input of a training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from dpjax.config.descriptors import DESCRIPTORS
from dpjax.config.descriptors.hybrid import descriptor_parts
from dpjax.config.descriptors.kinds import MESSAGES
from dpjax.config.models.dpa4 import check_direct_forces
from dpjax.config.optimizers import MUON_PRECISIONS, OPTIMIZERS
from dpjax.config.optimizers.lkf import LkfConfig, check_kalman_training
from dpjax.config.problems import Problem
from dpjax.config.suggestions import show

_PREFACTORS = {"E": "e", "F": "f", "V": "v"}


def problems(parts: dict[str, Any]) -> Iterator[Problem]:
    """What is wrong between sections; ``parts`` are their dataclasses by name, without those that could not be made."""
    model, loss, training = (parts.get(name) for name in ("model", "loss", "training"))
    output = getattr(getattr(model, "fitting_net", None), "output", None)
    if output is not None and loss is not None:
        yield from _loss_of_another_model(model, loss, output)
    if parts.get("dpjax") is not None and parts.get("optimizer") is not None:
        yield from _muon_precision(parts["dpjax"], parts["optimizer"])
    if parts.get("dpjax") is not None and model is not None:
        yield from _recompute_layers(parts["dpjax"], model)
    yield from check_kalman_training(parts)
    if isinstance(parts.get("optimizer"), LkfConfig) and getattr(model, "spin", None) is not None:
        text = "found LKF, which fits energies and forces of models without spins. Take another optimizer."
        yield Problem("optimizer/type", text)
    if training is not None:
        yield from _averages(training, parts.get("validating"))
        yield from _accumulation(training)
        if parts.get("dpjax") is not None and parts["dpjax"].ensemble > 1:
            yield from _ensemble(parts["dpjax"].ensemble, parts.get("optimizer"))
        if output is not None:
            yield from _bias(training, output)
            yield from _mixed_precision(training, model)
        if parts.get("validating") is not None and parts["validating"].active:
            yield from _full_validation(parts["validating"], training, loss)


def _loss_of_another_model(model: Any, loss: Any, output: Any) -> Iterator[Problem]:
    """A loss compares what the model predicts."""
    if loss.type not in output.losses:
        fitting, expected = model.raw.get("fitting_net", {}).get("type"), " or ".join(output.losses)
        who = f"the model {model.type!r}" if fitting is None else f"the fitting net {fitting!r}"
        text = f"found {loss.type!r}, but {who} predicts {output.label} and is trained with: {expected}."
        yield Problem("loss/type", text)
    elif loss.type == "ener_spin" and model.spin is None:
        text = (
            "found 'ener_spin', which compares magnetic forces, but the model has no `model/spin`. Use the loss 'ener'."
        )
        yield Problem("loss/type", text)
    elif loss.type == "dens" and model.type != "dpa4":
        text = (
            "found 'dens', which compares forces that the model gives directly and displacements that it finds, but only a model "
            f"of type dpa4 gives these; model/type is {model.type!r}. Use the loss 'ener'."
        )
        yield Problem("loss/type", text)
    elif loss.type == "dens":
        yield from check_direct_forces(model, "model")
        yield from _shown_forces(loss)
    elif model.spin is not None and getattr(loss, "start_pref_h", 0) and loss.limit_pref_h:
        text = "not zero, but models with spins are not trained on second derivatives yet. Set it to 0."
        yield Problem("loss/start_pref_h", text)


def _shown_forces(loss: Any) -> Iterator[Problem]:
    """The model is shown forces, and gives them in units of their spread: they must be trained."""
    for key in ("start_pref_f", "limit_pref_f"):
        if not getattr(loss, key):
            text = "found 0, but the loss dens is about forces. Give start_pref_f and limit_pref_f values above 0."
            yield Problem(f"loss/{key}", text)


def _muon_precision(dpjax: Any, optimizer: Any) -> Iterator[Problem]:
    """Only some optimizers round."""
    if dpjax.muon_precision != MUON_PRECISIONS[0] and not hasattr(optimizer, "precision"):
        name = OPTIMIZERS.name_of(optimizer)
        text = f"found {dpjax.muon_precision!r}, but {name} computes in the precision of the parameters anyway. "
        yield Problem("dpjax/muon_precision", text + "Leave it out, or choose the optimizer AdaMuon or HybridMuon.")


def _recompute_layers(dpjax: Any, model: Any) -> Iterator[Problem]:
    """Only some descriptors have layers of messages."""
    descriptor = getattr(model, "descriptor", None)
    if descriptor is None or dpjax.recompute_layers is not False:
        return
    if any(type(part) is DESCRIPTORS[name].config for _, part in descriptor_parts(descriptor) for name in MESSAGES):
        return
    text = f"found false, but no descriptor of this model has layers that pass messages; {', '.join(MESSAGES)} have. Leave it out."
    yield Problem("dpjax/recompute_layers", text)


def _averages(training: Any, validating: Any) -> Iterator[Problem]:
    if training.enable_ema and training.zero_stage >= 2:
        text = f"found true together with training/zero_stage {training.zero_stage}; averages need stage 0 or 1."
        yield Problem("training/enable_ema", text)
    if validating is not None and validating.ema_full_validation and not training.enable_ema:
        text = "found true, but no average is kept. Set training/enable_ema to true, or this to false."
        yield Problem("validating/ema_full_validation", text)


def _accumulation(training: Any) -> Iterator[Problem]:
    if training.numb_steps and training.acc_freq > training.numb_steps:
        text = f"found {training.acc_freq}, more than training/numb_steps ({training.numb_steps}): no update would be made."
        yield Problem("training/acc_freq", text)


def _ensemble(number: int, optimizer: Any) -> Iterator[Problem]:
    if isinstance(optimizer, LkfConfig):
        yield Problem("dpjax/ensemble", f"found {number} with the optimizer LKF, which trains one model. Set it to 1.")


def _mixed_precision(training: Any, model: Any) -> Iterator[Problem]:
    """Parameters have the precision of their networks, so ``output_prec`` must name it."""
    if training.mixed_precision is None:
        return
    wanted = training.mixed_precision["output_prec"]
    whole = getattr(model, "parts", None)  # of a sum of models
    nets = [("model", model)] if whole is None else [(f"model/models/{name}", part) for name, part in model.named]
    parts = [(f"{path}/fitting_net", part.fitting_net) for path, part in nets if "fitting_net" in part.raw]
    for path, part in (*parts, *descriptor_parts(model.descriptor)):
        if not any(field.name == "precision" for field in fields(part)):  # which has no networks
            continue
        found = {"default": "float64"}.get(part.precision, part.precision)
        if found != wanted:
            text = f"found {found}, but training/mixed_precision/output_prec is {wanted}. Give both the same, for example float32."
            yield Problem(f"{path}/precision", text)


def _bias(training: Any, output: Any) -> Iterator[Problem]:
    if training.change_bias_after_training and not output.biased:
        text = f"found true, but a {output.label} turns with its frame and has no bias. Set it to false."
        yield Problem("training/change_bias_after_training", text)


def _full_validation(validating: Any, training: Any, loss: Any) -> Iterator[Problem]:
    path = f"validating/{'full_validation' if validating.full_validation else 'ema_full_validation'}"
    if training.validation_data is None:
        text = "found true, but there are no validation data. Give training/validation_data, or set this to false."
        yield Problem(path, text)
    if loss is not None and loss.type != "ener":
        text = f"found true, but the loss is {loss.type!r}; only energy models (loss ener) have it. Set it to false."
        yield Problem(path, text)
        return
    if training.zero_stage >= 2:
        text = (
            f"found true together with training/zero_stage {training.zero_stage}; full validation needs stage 0 or 1."
        )
        yield Problem(path, text)
    letter = _PREFACTORS.get(validating.validation_metric.strip().upper().partition(":")[0])
    if loss is None:
        return
    if letter is None:
        text = f"found {show(validating.validation_metric)}; an energy model has the quantities E, F and V."
        yield Problem("validating/validation_metric", text)
    elif not getattr(loss, f"start_pref_{letter}") or not getattr(loss, f"limit_pref_{letter}"):
        keys = f"loss/start_pref_{letter} and loss/limit_pref_{letter}"
        text = f"found {show(validating.validation_metric)}, but this quantity is not trained: {keys} must be non-zero."
        yield Problem("validating/validation_metric", text)
