"""For models that are made up in tests: they are given frames in lists and like arrays better."""

from __future__ import annotations

import functools
from itertools import groupby
from types import SimpleNamespace

import numpy as np


def on_arrays(evaluate):
    """An ``evaluate`` of lists from one of arrays, which is called for each run of frames that are alike."""

    @functools.wraps(evaluate)
    def of_lists(self, coord, atype, cell, **more):
        kinds = [(len(own), box is None) for own, box in zip(coord, cell, strict=True)]
        out, start = [], 0
        for (_, is_open), run in groupby(kinds):
            take = slice(start, start + len(list(run)))
            start = take.stop
            given = {name: np.stack(value[take]) if isinstance(value, list) else value for name, value in more.items()}
            cells = None if is_open else np.stack(cell[take])
            out.append(evaluate(self, np.stack(coord[take]), np.stack(atype[take]), cells, **given))
        return {name: [row for part in out for row in part[name]] for name in out[0]} if out else {}

    return of_lists


def bare_config(fitting, silent=()) -> SimpleNamespace:
    """What the configuration of such a model says: its fitting net, and its inputs, none of which has a default."""
    sizes = {"fparam": fitting.numb_fparam, "aparam": fitting.numb_aparam}
    inputs = {name: size for name, size in sizes.items() if size}
    own = {"silent_types": silent, "inputs": inputs, "default_inputs": {}, "direct_forces": False, "virtual_scale": ()}
    return SimpleNamespace(fitting_net=fitting, **own)
