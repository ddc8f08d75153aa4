"""Descriptors as the NVNMD hardware has them: ``se_e2_a`` (version 0) and ``se_atten`` without attention (version 1).

Mo et al., npj Comput. Mater. 8, 107 (2022).  The continuous form differs from that of other models in two things: sums over
neighbours are divided by a power of two, and of the products of two embeddings those of neighbouring ones are kept.  The quantised
form computes the same with the numbers of the hardware (:mod:`dpjax.nn.nvnmd`), with tables in the place of functions.
"""

from dpjax.descriptors.nvnmd.continuous import ContinuousSeAtten, ContinuousSeE2A, divisor
from dpjax.descriptors.nvnmd.quantized import QuantizedSeAtten, QuantizedSeE2A
from dpjax.descriptors.nvnmd.tables import tables_of

__all__ = [
    "ContinuousSeAtten",
    "ContinuousSeE2A",
    "QuantizedSeAtten",
    "QuantizedSeE2A",
    "divisor",
    "tables_of",
]
