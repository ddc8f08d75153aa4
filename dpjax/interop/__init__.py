"""Weight maps between our parameter trees and other programs' model files, one file per component."""

from dpjax.interop.standard import flatten, read_model, write_model

__all__ = ["flatten", "read_model", "write_model"]
