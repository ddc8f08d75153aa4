"""Cells: inverse by cofactors, volume, heights and wrapping.

Defined beside the neighbour search, which needs them too and may not import from here.
"""

from __future__ import annotations

from dpjax.neighbors.lattice import heights, inverse3, volume, wrap

__all__ = ["heights", "inverse3", "volume", "wrap"]
