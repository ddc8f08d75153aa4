"""Weight maps between our parameter trees and other programs' model files, one file per component."""

from dpjax.interop.conventions import check_conventions
from dpjax.interop.standard import flatten, read_model, write_model

__all__ = ["check_conventions", "flatten", "read_model", "write_model"]
