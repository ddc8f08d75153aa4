"""Model files as plain trees: reading and writing DeePMD-kit's ``.dp`` and ``.yaml``, without any model code."""

from dpjax.formats.dp import read_model_tree, write_model_tree

__all__ = ["read_model_tree", "write_model_tree"]
