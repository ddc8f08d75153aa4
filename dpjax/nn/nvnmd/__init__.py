"""Arithmetic of the NVNMD hardware: numbers with 21 digits, fixed-point numbers, tables in the place of functions.

Mo et al., npj Comput. Mater. 8, 107 (2022).  All of it is exact: numbers are float64 arrays whose values the hardware's formats
can hold, and every function gives the numbers that the hardware gives, bit for bit.  Derivatives pass straight through roundings
and are rounded themselves, as the hardware computes forces; what is differentiated again, as in a training with forces, are such
functions, too.  They are of reverse mode only.
"""

from dpjax.nn.nvnmd.fixed import quantized, tanh4, tanh4_fixed
from dpjax.nn.nvnmd.floats import add, copied, dot, mul, scaled, truncated
from dpjax.nn.nvnmd.products import fitting_product, fixed_product, product
from dpjax.nn.nvnmd.pulls import magnified
from dpjax.nn.nvnmd.table import FunctionTable, lookup

__all__ = [
    "FunctionTable",
    "add",
    "copied",
    "dot",
    "fitting_product",
    "fixed_product",
    "lookup",
    "magnified",
    "mul",
    "product",
    "quantized",
    "scaled",
    "tanh4",
    "tanh4_fixed",
    "truncated",
]
