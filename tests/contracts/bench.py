"""Runs one contract case: any few small structures through one compiled program, because all share one layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial

import jax
import numpy as np

from dpjax.batching import Batch, Frame, Layout, pack, unpack_atoms
from dpjax.batching.lists import with_lists
from dpjax.descriptors.facts import list_plan
from dpjax.models import RESOLVED, predict
from dpjax.neighbors import search
from tests.contracts.cases import Case, potential
from tests.contracts.outputs import per_atom
from tests.contracts.structures import Structure, make

N_FRAME = 9
QUICK = {"xla_backend_optimization_level": 0}  # half the compile time; full optimisation is tested through ``evaluate``


class Bench:
    """A case's potential and its one program."""

    def __init__(self, case: Case):
        self.case = case
        self.potential = potential(case.section, form=case.form)
        self.model, self.variables = self.potential.model, self.potential.variables
        self.output = self.model.output
        wide = (20, 28) if self.model.by_type else (48,)  # what the structures need, and what most cases keep
        nbrs = tuple(keep or width for keep, width in zip(self.model.sel, wide, strict=True))
        self.layout = Layout(atoms=(48, 80) if self.model.by_type else (128,), nbrs=nbrs, frames=N_FRAME)

    def structure(self, kind: str = "crystal", **options) -> Structure:
        """A random structure with the inputs the model takes."""
        return make(kind, **self.potential.config.inputs, **options)

    def pack(self, structures: Sequence[Structure]) -> tuple[Batch, list[np.ndarray]]:
        """The batch and each structure's places in it."""
        batch, places = pack([self._frame(s) for s in structures], self.layout)
        plan = list_plan(self.potential.config.descriptor)
        if plan is not None:
            (batch,), _ = with_lists([batch], replace(plan, edges=160, angles=4096))
        return batch, places

    def _frame(self, s: Structure) -> Frame:
        table = search(s.coord, s.atype, self.model.n_type, self.model.rcut, s.cell)
        return Frame(s.coord, s.atype, table, s.cell, s.fparam, s.aparam, s.charge_spin)

    @cached_property
    def program(self):
        return jax.jit(partial(predict, self.model, atomic=True, grid=self.case.grid), compiler_options=QUICK)

    def run(self, batch: Batch) -> dict[str, np.ndarray]:
        """Outputs on the padded axes."""
        out = jax.device_get(self.program(self.variables, batch))
        assert np.all(out.pop(RESOLVED, True))
        return out

    def __call__(self, *structures: Structure) -> list[dict[str, np.ndarray]]:
        """Outputs of each structure in its own atom order."""
        batch, places = self.pack(structures)
        out = self.run(batch)
        return [
            {key: unpack_atoms(value, own) if key in per_atom(self.output) else value[i] for key, value in out.items()}
            for i, own in enumerate(places)
        ]
