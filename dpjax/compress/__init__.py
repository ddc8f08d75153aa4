"""Compressed models: embedding networks as tables.  ``compress`` makes one; see ``docs/compression.md``."""

from dpjax.compress.building import compressed, series_share
from dpjax.compress.checks import check_compressible, refuse_compressed
from dpjax.compress.overflow import OverflowWatch
from dpjax.compress.potential import compress
from dpjax.config.models.compress import Compression

__all__ = [
    "Compression",
    "OverflowWatch",
    "check_compressible",
    "compress",
    "compressed",
    "refuse_compressed",
    "series_share",
]
