"""A forecast in words, for ``dpjax check``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dpjax.config import ModelConfig
from dpjax.data import Sampler, System
from dpjax.descriptors import kept, members
from dpjax.descriptors.crowding import by_cut, cuts
from dpjax.memory import peak_memory
from dpjax.training.devices import device_count
from dpjax.training.forecast import Forecast, Memory, Shapes
from dpjax.training.rows import rows_of
from dpjax.training.setup import TrainingSetup
from dpjax.training.step import parameter_count
from dpjax.training.survey import Survey


def lines(found: Forecast) -> Iterator[str]:
    """The report, a line at a time."""
    setup = found.setup
    config = setup.config
    yield f"model: {model_text(config.model)}, {parameter_count(setup.variables['params'])} parameters"
    yield f"loss: {config.raw['loss']['type']}, on {', '.join(sorted(setup.loss.labels))}"
    yield f"training data: {data_text(found.training)}"
    if found.validation is not None:
        yield f"validation data: {data_text(found.validation)}"
    yield f"neighbours: {neighbors_text(config.model, [s for s in (found.training, found.validation) if s])}"
    yield f"steps: {steps_text(setup)}"
    yield f"programs: {programs_text(found)}"
    yield f"memory: {memory_text(found.memory, device_count(setup.mesh))}"
    peak = peak_memory()
    if peak is not None:
        yield f"process: this check took {size_text(peak)}, Python and JAX included, and ran no step"


def model_text(model: ModelConfig) -> str:
    """Type, descriptor and fitting."""
    if not isinstance(model, ModelConfig):
        own = [f"{name}: {model_text(part)}" for name, part in getattr(model, "named", ())]
        return f"{model.type}{' of ' if own else ''}{'; '.join(own)}"
    raw = model.raw["descriptor"]
    parts = zip(members(model.descriptor), raw.get("list", [raw]), strict=True)
    texts = [f"{section['type']} (rcut {part.rcut:g} angstrom, sel {_sel_text(part)})" for part, section in parts]
    kind = "hybrid of " if "list" in raw else ""
    return f"{model.type}, descriptor {kind}{' and '.join(texts)}, fitting {model.raw['fitting_net']['type']}"


def _sel_text(descriptor: Any) -> str:
    return ", ".join(map(str, kept(descriptor)))


def data_text(found: Survey) -> str:
    """Systems, frames, atoms and labels of a data section."""
    atoms = sorted(s.n_atom for s in found.systems)
    size = f"{atoms[0]}" if atoms[0] == atoms[-1] else f"{atoms[0]} to {atoms[-1]}"
    left_out = found.given - len(found.systems)
    number = f"{len(found.systems)} of {found.given} systems" if left_out else _counted(found.given, "system")
    return f"{number}, {_counted(found.frames, 'frame')} of {size} atoms; {labels_text(found.systems)}"


def labels_text(systems: Sequence[System]) -> str:
    """Which of the arrays that loss and model ask for are there, and where they are missing."""
    lacking = {name: [s.name for s in systems if not s.found[name]] for name in sorted(systems[0].labels)}
    texts = [", ".join(name for name, names in lacking.items() if not names)]
    for name, names in lacking.items():
        if len(names) == len(systems):  # no label of the loss, which would have been refused
            texts.append(f"{name} as preset in the model")
        elif names:
            more = f" and {_counted(len(names) - 1, 'other')}" if len(names) > 1 else ""
            texts.append(f"{name} in {len(systems) - len(names)} of {len(systems)}, missing in {names[0]}{more}")
    return "; ".join(text for text in texts if text)


def neighbors_text(model: ModelConfig, found: Sequence[Survey]) -> str:
    """The largest numbers of neighbours against ``sel``, of each descriptor."""
    counts, short = [], []
    for cut, most in by_cut(cuts(model), np.max([part.within for part in found], axis=0)):
        names = cut.names or ("of any type",)
        room = [f"sel {keep} in a term" if cut.in_terms else f"sel {keep}" for keep in cut.sel]
        numbers = [f"{n} {name} ({own})" for name, n, own in zip(names, most, room, strict=True)]
        counts.append(f"{', '.join(numbers)} within {cut.rcut:g} angstrom" + (f" for {cut.part}" if cut.part else ""))
        short += [f"{names[t]} in {cut.part}" if cut.part else names[t] for t, _ in cut.shortage(most)]
    verdict = f"sel is too small for {', '.join(short)}, the farthest are left out" if short else "none is left out"
    return f"at most {'; '.join(counts)}; {verdict}"


def steps_text(setup: TrainingSetup) -> str:
    """Length of the run in steps and epochs, and how often it is validated."""
    training, sampler = setup.config.training, setup.training.sampler
    text = f"{setup.num_steps} on {_sizes(sampler)} each, {setup.num_steps / sampler.steps_per_epoch:.3g} epochs of "
    text += _counted(sampler.steps_per_epoch, "step")
    if setup.validation is None:
        return text
    rows, batches = rows_of(setup.num_steps, training.disp_freq), training.validation_data.numb_btch
    each = f"{batches} batches" if batches > 1 else "1 batch"
    return f"{text}; {_counted(rows, 'validation')} on {each} of {_sizes(setup.validation.sampler)}"


def _sizes(sampler: Sampler) -> str:
    sizes = sorted({sampler.frames_per_batch(system) for system in sampler.kept})
    return _counted(sizes[0], "frame") if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} frames"


def programs_text(found: Forecast) -> str:
    """How many programs will be compiled, and what the number leaves out."""
    steps, checks = found.shapes, found.validation_shapes
    text = f"{found.programs} to compile: {len(steps.first)} for steps, {len(checks.first)} for validation"
    if found.series:
        text += "; more where networks become too sharp for the series that replace them"
    looked = [
        _looked_at(*part) for part in ((steps, "step"), (checks, "validation batch")) if part[0].seen < part[0].number
    ]
    return "; ".join([text, *looked])


def _looked_at(shapes: Shapes, name: str) -> str:
    return f"of the {shapes.number} {name}s the first {shapes.seen} were looked at"


def memory_text(found: Memory, n_device: int = 1) -> str:
    """The parts of the memory and their sum."""
    step = "step not estimated" if found.step is None else f"step {size_text(found.step)}"
    parts = [
        f"parameters {size_text(found.parameters)}",
        f"optimizer {size_text(found.optimizer)}",
        f"{_counted(found.n_batch, 'batch', 'batches')} {size_text(found.batches)}",
        step,
        f"neighbour lists on the host {size_text(found.neighbors)}",
    ]
    each = f", all but the last on each of {n_device} devices" if n_device > 1 else ""
    return f"about {size_text(found.total)} beside Python, JAX and the compiler ({', '.join(parts)}{each})"


def size_text(number: int) -> str:
    """Bytes in MiB, or from 1 GiB on in GiB."""
    gib = number / 2**30
    return f"{gib:.2f} GiB" if gib >= 1 else f"{number / 2**20:.1f} MiB"


def _counted(number: int, name: str, plural: str = "") -> str:
    return f"{number} {name if number == 1 else plural or name + 's'}"
