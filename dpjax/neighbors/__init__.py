"""Neighbour lists: host search and cache for training, a cell list for the device, statistics for ``sel``."""

from dpjax.neighbors.cache import NeighborCache
from dpjax.neighbors.host import search
from dpjax.neighbors.stat import NeighborStat, neighbor_stat, suggest_sel, update_sel
from dpjax.neighbors.table import NeighborTable

__all__ = ["NeighborCache", "NeighborStat", "NeighborTable", "neighbor_stat", "search", "suggest_sel", "update_sel"]
