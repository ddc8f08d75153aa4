"""Checkpoints: a tree of arrays and its JSON description in one folder that appears at once or not at all."""

from __future__ import annotations

from dpjax.checkpoints.best import BestCheckpoints, Record
from dpjax.checkpoints.store import POINTER, CheckpointStore, is_checkpoint, load_checkpoint

__all__ = ["POINTER", "BestCheckpoints", "CheckpointStore", "Record", "is_checkpoint", "load_checkpoint"]
