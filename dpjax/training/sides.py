"""The training or validation data of a run: systems with the labels that are needed, their sampler and their packer."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from dpjax import losses
from dpjax.config import Config, DataConfig, ModelConfig, parse_model
from dpjax.config.descriptors.hybrid import descriptor_parts
from dpjax.config.descriptors.kinds import OPEN
from dpjax.config.dpjax_section import DpjaxConfig
from dpjax.data import Sampler, System, load_systems, model_labels
from dpjax.data.waiting import counter
from dpjax.descriptors import (
    capacity,
    cutoff,
    has_type_networks,
    is_one_of,
    members,
    selections,
    unresolved,
    with_selections,
)
from dpjax.descriptors.crowding import cuts
from dpjax.descriptors.facts import inner_cuts, list_plan
from dpjax.errors import ConfigError, DataError
from dpjax.neighbors import NeighborCache, neighbor_stat, suggest_sel
from dpjax.neighbors.frames import FrameSource
from dpjax.training import fragments
from dpjax.training.devices import Part
from dpjax.training.full_validation import LABELS
from dpjax.training.masked import most_atoms, searched
from dpjax.training.modifier import Modifiers, corrected
from dpjax.training.noise import NoiseRule
from dpjax.training.points import points_of
from dpjax.training.source import BatchSource, ModelNeeds
from dpjax.training.step import LabelledBatch

log = logging.getLogger(__name__)

Sels = dict[tuple[str, ...], int | tuple[int, ...]]  # lengths of a descriptor's lists by the paths of their options

NEIGHBOR_FRAMES = 20_000  # looked at for `"sel": "auto"`
EMPTY_PASSES = 4  # through the data without a frame that may be trained on


@dataclass(frozen=True)
class DataSide:
    """Systems with their sampler and packer.

    Attributes:
        min_pair_dist: frames with atoms closer than this (angstrom) are left out of their batches; 0 keeps all.
    """

    systems: Sequence[System]
    sampler: Sampler
    source: BatchSource
    min_pair_dist: float = 0.0

    def next_parts(self) -> Sequence[Part]:
        """Frames of the next batch; where none of a batch may stay, of the one after it.

        Raises:
            DataError: no frame met in many passes may stay.
        """
        if not self.min_pair_dist:
            return self.sampler.next_batch()
        for _ in range(EMPTY_PASSES * sum(self.sampler.batches_per_system) + EMPTY_PASSES):
            parts = self.source.without_close_pairs(self.sampler.next_batch(), self.min_pair_dist)
            if parts:
                return parts
        raise DataError(
            f"training/training_data/min_pair_dist: found {self.min_pair_dist} angstrom, and no frame of the data has all its "
            "atoms that far apart. Lower it, or look at the distances that `dpjax neighbor-stat` prints."
        )

    def next_batch(self, n_device: int) -> tuple[LabelledBatch, Sequence[Part]]:
        """The next batch on so many devices, with noise where the training wants it, and which frames it has."""
        parts = self.next_parts()
        first = parts[0][0]
        noise, rule = None, self.source.noise
        if rule is not None and self.systems[first].found["force"]:  # without forces there is nothing to learn from it
            noise = rule.drawn(self.sampler.step)
        return self.source.batch(parts, self.sampler.frames_per_batch(first), n_device, noise), parts

    def batches(self, system: int, frames: np.ndarray, n_device: int) -> Iterator[LabelledBatch]:
        """Given frames of one system, as many at once as a batch of it has."""
        size = self.sampler.frames_per_batch(system)
        for start in range(0, len(frames), size):
            yield self.source.batch(((system, frames[start : start + size]),), size, n_device)

    def state(self) -> dict[str, Any]:
        """Where the batches stand, JSON-able: the frames drawn, and the array sizes, which decide the order of sums."""
        places = {frames: [int(n) for n in atoms] for frames, atoms in self.source.places.items()}
        sizes = {"capacity": self.source.capacity.tolist(), "inner": self.source.inner.tolist(), "places": places}
        return {"sampler": self.sampler.state(), **sizes}

    def restore(self, state: dict[str, Any]) -> bool:
        """Continue from ``state``; False if the data or the rules of drawing changed since."""
        self.source.reserve(state["capacity"], state.get("inner", ()))  # earlier versions saved none
        self.source.places |= {frames: np.array(atoms) for frames, atoms in state["places"].items()}
        return self.sampler.restore(state["sampler"])


def open_systems(
    data: DataConfig,
    model: ModelConfig,
    loss: losses.Loss,
    extra: Sequence[str] = (),
    *,
    options: DpjaxConfig | None = None,
) -> list[System]:
    """The systems of a data section with the labels of the loss, ``extra`` ones where they are, and the inputs of the model."""
    specs = model_labels(
        model, (*label_names(loss), *extra), numb_generalized_coord=getattr(loss, "numb_generalized_coord", 0)
    )
    options = options or DpjaxConfig()
    return load_systems(
        data,
        model.data_types,
        specs,
        required_somewhere=loss.labels,
        skip_bad_frames=options.skip_bad_frames,
        progress=options.progress != "none",
    )


def label_names(loss: losses.Loss) -> tuple[str, ...]:
    """The labels that a loss takes, those that not all data need to have included."""
    return (*loss.labels, *loss.optional_labels)


def model_needs(model: ModelConfig, block: int | None = None) -> ModelNeeds:
    """What packing must know of the model.

    Args:
        block: atoms that the user wants computed together.
    """
    n_type = len(model.type_map)
    sel = capacity(model.descriptor, n_type)
    return ModelNeeds(
        n_type=n_type,
        n_section=len(sel),
        rcut=cutoff(model.descriptor),
        sel=sel,
        cuts=cuts(model),
        inputs=tuple(model.inputs),
        lists=list_plan(model.descriptor, block),
        inner=inner_cuts(model.descriptor),
        virtual_scale=model.virtual_scale,
    )


def data_side(
    config: Config,
    data: DataConfig,
    systems: Sequence[System],
    sampler: Sampler,
    loss: losses.Loss,
    extra: Sequence[str] = (),
    noise: NoiseRule | None = None,
) -> DataSide:
    """One side of the data, with the labels of the loss and ``extra`` ones; batches may be disturbed as ``noise`` says."""
    needs = model_needs(config.model, config.dpjax.block_size)
    if data.min_pair_dist > needs.rcut:
        raise ConfigError(
            f"training/training_data/min_pair_dist: found {data.min_pair_dist}, but distances beyond the cut-off of the model "
            f"({needs.rcut:g} angstrom) are not looked at. Give a smaller number."
        )
    cache = NeighborCache(
        searched(points_of(systems, needs.virtual_scale), config.model),
        needs.rcut,
        needs.n_type,
        config.dpjax.neighbor_cache,
        limit=int(config.dpjax.neighbor_cache_size * 2**30),
    )
    if config.dpjax.neighbor_cache is not None:
        cache.build(counter("searching neighbours", config.dpjax.progress != "none"))
    source = BatchSource(systems, cache, needs, tuple(dict.fromkeys((*label_names(loss), *extra))), noise)
    atoms = source.observe(sampler.kept)
    if sampler.mixed:
        _refuse_mixed_labels(systems, loss.labels)
        weights = [p for system, p in zip(sampler.kept, sampler.probabilities, strict=True) if system in atoms]
        source.expect(list(atoms.values()), weights, -(-sampler.mixed // len(jax.devices())))
    return DataSide(systems, sampler, source, data.min_pair_dist)


def _refuse_mixed_labels(systems: Sequence[System], labels: Sequence[str]) -> None:
    """Frames of one batch share the flags that say which labels exist.

    Raises:
        ConfigError: a label is in some systems only.
    """
    for name in labels:
        lacking = [s.name for s in systems if not s.found[name]]
        if lacking and len(lacking) < len(systems):
            raise ConfigError(
                f"batch_size: mixed:N joins frames of all systems, but {lacking[0]} has no {name} label and others have. "
                f"Use auto:N, or leave {name} out of the loss."
            )


def validation_side(
    config: Config, loss: losses.Loss, seed: int, modifiers: Modifiers | None = None
) -> DataSide | None:
    data = config.training.validation_data
    if data is None:
        return None
    extra = tuple(LABELS.values()) if config.validating.active else ()
    systems = open_systems(data, config.model, loss, extra, options=config.dpjax)
    systems = corrected(config.model, systems, modifiers)
    sampler = Sampler(systems, data, seed, "training.validation_data")
    return data_side(config, data, systems, sampler, loss, extra)


def resolve_sel(config: Config, systems: Sequence[System], initial: tuple[ModelConfig, dict] | None) -> Config:
    """Replace ``sel: auto`` by numbers: those of the model that is continued, else counted in the training data."""
    descriptor = config.model.descriptor
    own = members(descriptor)
    if not any(map(unresolved, own)):
        return config
    same_points = initial is not None and bool(initial[0].virtual_scale) == bool(config.model.virtual_scale)
    theirs = members(initial[0].descriptor) if same_points else ()
    alike = [type(member) for member in theirs] == [type(member) for member in own]
    paths = dict(descriptor_parts(descriptor))
    show = config.dpjax.progress != "none"
    sels = [
        _resolved_sels(
            member,
            theirs[i] if alike else None,
            path,
            points_of(fragments.counted_frames(config.model, path, systems), config.model.virtual_scale),
            config.model,
            show,
        )
        for i, (path, member) in enumerate(paths.items())
    ]
    if not isinstance(config.model, ModelConfig):
        raw = _with_sels(config.raw, dict(zip(paths, sels, strict=True)))
        return replace(config, model=parse_model(raw["model"]), raw=raw)
    section = config.raw["model"]["descriptor"]
    in_input = [_of_types(sel, len(config.model.data_types)) for sel in sels]
    if descriptor is own[0]:
        resolved, written = with_selections(descriptor, sels[0]), _written_sels(section, in_input[0])
    else:
        resolved = replace(descriptor, list=tuple(with_selections(m, sel) for m, sel in zip(own, sels, strict=True)))
        listed = zip(section["list"], in_input, strict=True)
        written = {**section, "list": [_written_sels(m, sel) for m, sel in listed]}
    raw = {**config.raw, "model": {**config.raw["model"], "descriptor": written}}
    return replace(config, model=replace(config.model, descriptor=resolved, raw=raw["model"]), raw=raw)


def _with_sels(raw: dict, found: dict[str, Sels]) -> dict:
    """A normalised input with resolved numbers in the sections at some paths."""
    raw = copy.deepcopy(raw)
    for path, sels in found.items():
        *parents, last = path.split("/")
        place = raw
        for key in parents:
            place = place[int(key) if isinstance(place, list) else key]
        key = int(last) if isinstance(place, list) else last
        place[key] = _written_sels(place[key], sels)
    return raw


def _written_sels(section: dict, sels: Sels) -> dict:
    """A descriptor's section of the input with resolved numbers."""
    for path, sel in sels.items():
        number = {path[-1]: sel if isinstance(sel, int) else list(sel)}
        section = {**section, **(number if len(path) == 1 else {path[0]: {**section[path[0]], **number}})}
    return section


def _of_types(sels: Sels, n_type: int) -> Sels:
    """Lengths of lists as the input has them: virtual atoms have those of the types whose spins they stand for."""
    return {path: sel if isinstance(sel, int) else sel[:n_type] for path, sel in sels.items()}


def _resolved_sels(
    descriptor: Any, other: Any, path: str, systems: Sequence[FrameSource], model: Any, show: bool
) -> Sels:
    """Lengths of the lists of one descriptor: as given, as in the one of the model that is continued (``other``), or counted."""
    known = {} if other is None else selections(other)
    return {
        option: known[option].sel if option in known else _counted_sel(descriptor, option, path, systems, model, show)
        for option, selection in selections(descriptor).items()
        if isinstance(selection.sel, str)
    }


def _counted_sel(
    descriptor: Any, option: tuple[str, ...], path: str, systems: Sequence[FrameSource], model: Any, show: bool
) -> int | tuple[int, ...]:
    """The length of one list that holds all neighbours in the data, virtual atoms for spins among them."""
    type_map = model.type_map
    selection, by_type = selections(descriptor)[option], has_type_networks(descriptor)
    name = "/".join((path, *option))
    if is_one_of(descriptor, OPEN):
        sel = most_atoms(systems, len(type_map))
        log.info("%s: %s is %s for this data", name, selection.sel, sel)
        return sel
    tell = counter("counting neighbours", show)
    stat = neighbor_stat(
        systems, selection.rcut, type_map, mixed_type=not by_type, limit=NEIGHBOR_FRAMES, progress=tell
    )
    suggested = suggest_sel(stat, selection.sel, path=name)
    sel = suggested if by_type else suggested[0]
    if by_type and model.virtual_scale:  # one number for a type and for its virtual atoms
        sel = 2 * tuple(map(max, zip(*np.reshape(sel, (2, -1)).tolist(), strict=True)))
    log.info("%s: %s is %s for this data (rcut %g angstrom)", name, selection.sel, sel, selection.rcut)
    return sel
