"""Data sets: files to frames, labels with their flags, and the order in which frames are used.

Everything here is numpy on the host; jax is not imported.
"""

from __future__ import annotations

from dpjax.data.batch_size import BatchSizes, batch_sizes
from dpjax.data.finding import find_systems
from dpjax.data.labels import ENERGY_LABELS, LabelSpec, label_requirements, model_labels, output_labels
from dpjax.data.loading import load_systems
from dpjax.data.probability import steps_of_epochs, steps_per_epoch, system_probabilities
from dpjax.data.reader import SystemReader, open_readers
from dpjax.data.sampling import Sampler
from dpjax.data.system import System, open_system, open_systems, require_label

__all__ = [
    "ENERGY_LABELS",
    "BatchSizes",
    "LabelSpec",
    "Sampler",
    "System",
    "SystemReader",
    "batch_sizes",
    "find_systems",
    "label_requirements",
    "load_systems",
    "model_labels",
    "open_readers",
    "open_system",
    "open_systems",
    "output_labels",
    "require_label",
    "steps_of_epochs",
    "steps_per_epoch",
    "system_probabilities",
]
