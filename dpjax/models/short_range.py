"""A pair table that takes over from the networks of a model between atoms that are near each other (``use_srtab``).

The energy of an atom is ``l table + (1 - l) networks``, where ``l`` falls from 1 to 0 as the soft minimum of the distances to the
neighbours grows from ``sw_rmin`` to ``sw_rmax``.  Wang, Guo, Zhang, Wang, Xue, Appl. Phys. Lett. 114, 244101 (2019).
"""

from __future__ import annotations

import jax

from dpjax.config import ModelConfig
from dpjax.descriptors import Neighborhood, cutoff, listed_neighbors, ordered_pairs
from dpjax.geometry.environment import switch_weight
from dpjax.models.pair_table import PairEnergies, soft_minimum


def build_table(config: ModelConfig) -> PairEnergies:
    """The table of a model with ``use_srtab``; its pairs are the neighbours that the descriptor has."""
    section = config.descriptor
    excluded = ordered_pairs(config.pair_exclude_types)
    return PairEnergies(len(config.type_map), cutoff(section), listed_neighbors(section), excluded)


def table_share(table: PairEnergies, config: ModelConfig, view: Neighborhood) -> jax.Array:
    """(n_atom,) the share of the table in the energy of each atom, from 0 to 1; 0 without neighbours."""
    near, distance = table.neighbors(view)
    smallest = soft_minimum(distance, near.mask, config.smin_alpha, clamped=config.conventions == "reference")
    return switch_weight(smallest, config.sw_rmin, config.sw_rmax)
