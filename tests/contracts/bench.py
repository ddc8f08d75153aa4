"""Runs one contract case: any few small structures through one compiled program, because all share one layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial

import jax
import numpy as np

from dpjax.batching import Batch, Frame, Layout, pack, unpack_atoms
from dpjax.batching.lists import with_lists
from dpjax.batching.virtual import with_virtual_atoms
from dpjax.data.checks import without_virtual
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
        nbrs = tuple(keep or width for keep, width in zip(self.model.sel[: len(wide)], wide, strict=True))
        self.scale = self.potential.config.virtual_scale
        atoms = (48, 80) if self.model.by_type else (128,)
        if self.scale:  # virtual atoms of the first type
            nbrs, atoms = ((*nbrs, *nbrs), (48, 80, 48, 0)) if self.model.by_type else (nbrs, (192,))
        self.layout = Layout(atoms=atoms, nbrs=nbrs, frames=N_FRAME)

    def structure(self, kind: str = "crystal", **options) -> Structure:
        """A random structure with the inputs the model takes."""
        if not self.case.whole:
            s = make(kind, **self.potential.config.inputs, **options)
            return s.replace(aparam=fragments(s.atype)) if self.case.in_fragments else s
        s = make("cluster", **options)
        return s.replace(aparam=np.where(np.arange(len(s.coord)) % 5 == 4, 0.0, 1.0)[:, None])

    def pack(self, structures: Sequence[Structure]) -> tuple[Batch, list[np.ndarray]]:
        """The batch and each structure's places in it."""
        batch, places = pack([self._frame(s) for s in structures], self.layout)
        plan = list_plan(self.potential.config.descriptor)
        if plan is not None:
            (batch,), _ = with_lists([batch], replace(plan, edges=160, angles=4096))
        return batch, places

    def _frame(self, s: Structure) -> Frame:
        frame = Frame(s.coord, s.atype, None, s.cell, s.fparam, s.aparam, s.charge_spin, s.spin)
        frame = with_virtual_atoms(frame, self.scale) if self.scale else frame
        types = without_virtual(frame.atype, s.aparam) if self.case.whole else frame.atype
        found = search(frame.coord, types, self.model.n_type, self.model.rcut, s.cell, partners=s.spin is not None)
        return replace(frame, table=found)

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


def fragments(atype: np.ndarray) -> np.ndarray:
    """(n, 1) numbers of fragments: atoms of type 0 are the QM region, two others at a time one fragment of the rest."""
    return np.where(atype == 0, 0.0, 1.0 + np.arange(len(atype)) // 3)[:, None]
