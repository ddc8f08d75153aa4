"""Frames to flat, padded, type-sorted batches (DESIGN of the batch: ``docs/architecture.md``)."""

from dpjax.batching.batch import Batch, Disturbance, Layout
from dpjax.batching.ladder import round_up
from dpjax.batching.packing import (
    Frame,
    choose_layout,
    make_layout,
    most_neighbors,
    pack,
    pack_atoms,
    pack_pairs,
    unpack_atoms,
    unpack_pairs,
)

__all__ = [
    "Batch",
    "Disturbance",
    "Frame",
    "Layout",
    "choose_layout",
    "make_layout",
    "most_neighbors",
    "pack",
    "pack_atoms",
    "pack_pairs",
    "round_up",
    "unpack_atoms",
    "unpack_pairs",
]
