"""One large structure spread over several devices: slabs of atoms, copies at their borders, and the model on each."""

from dpjax.models.spread.division import Division, SlabPlan, divide, slots
from dpjax.models.spread.halo import COINCIDENT, NEAR_FULL, NOT_RESOLVED, SENT_FULL, SLABS_FAR, STALE, SlabFlags
from dpjax.models.spread.programs import SlabAtoms, SpreadPrograms, SpreadState, slab_mesh

__all__ = [
    "COINCIDENT",
    "NEAR_FULL",
    "NOT_RESOLVED",
    "SENT_FULL",
    "SLABS_FAR",
    "STALE",
    "Division",
    "SlabAtoms",
    "SlabFlags",
    "SlabPlan",
    "SpreadPrograms",
    "SpreadState",
    "divide",
    "slab_mesh",
    "slots",
]
