"""Potentials whose programs are compiled in half the time, at the cost of slow programs."""

from __future__ import annotations

from functools import partial

import jax

import dpjax
from dpjax.interfaces import listed
from dpjax.models.listed import predict_listed
from tests.contracts.bench import QUICK


def quick(pot: dpjax.Potential) -> dpjax.Potential:
    """The potential itself; calculators that are made from it from now on share a new program."""
    pot._programs.compiler_options = QUICK
    static = ("nbrs", "atomic", "grid")
    run = jax.jit(partial(predict_listed, pot.model), static_argnames=static, compiler_options=QUICK)
    listed._PROGRAMS[pot] = run, set()
    return pot
