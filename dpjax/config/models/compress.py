"""The ``compress`` section of a model, which DeePMD-kit's own ``dp compress`` writes into the input it stores."""

from __future__ import annotations

from dpjax.config.schema import Option


def argument() -> Option:
    """The ``compress`` section; what stands in it is kept as it is."""
    doc = (
        "Tables in place of embedding nets: which model file they come from, their steps, and the smallest distance between "
        "atoms. Written by `dp compress`, not by hand."
    )
    return Option("compress", dict, doc, not_built="a model that is compressed by its input")
