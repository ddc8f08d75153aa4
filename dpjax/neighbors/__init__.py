"""Neighbour lists: host search and cache for training, a cell list for the device, statistics for ``sel``."""

from dpjax.neighbors.cache import NeighborCache
from dpjax.neighbors.device import CellListPlan, DeviceNeighbors, NeighborFlags, is_stale, update
from dpjax.neighbors.host import search
from dpjax.neighbors.joined import expected_neighbors, search_many
from dpjax.neighbors.plan import allocate, grow, search_with_retry
from dpjax.neighbors.stat import NeighborStat, neighbor_stat, suggest_sel, update_sel
from dpjax.neighbors.table import NeighborTable

__all__ = [
    "CellListPlan",
    "DeviceNeighbors",
    "NeighborCache",
    "NeighborFlags",
    "NeighborStat",
    "NeighborTable",
    "allocate",
    "expected_neighbors",
    "grow",
    "is_stale",
    "neighbor_stat",
    "search",
    "search_many",
    "search_with_retry",
    "suggest_sel",
    "update",
    "update_sel",
]
