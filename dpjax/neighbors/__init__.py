"""Neighbour lists: host search and cache for training, a cell list for the device, statistics for ``sel``."""

from dpjax.neighbors.host import search
from dpjax.neighbors.table import NeighborTable

__all__ = ["NeighborTable", "search"]
