"""A data system as the search for neighbours sees it where that is not quite what its files hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dpjax.data import System


@dataclass(frozen=True, eq=False)
class SystemView:
    """A system as it is; what is seen otherwise, a subclass says.

    Attributes:
        system: it, with the arrays that the view needs.
    """

    system: System

    @property
    def name(self) -> str:
        return self.system.name

    @property
    def n_frame(self) -> int:
        return self.system.n_frame

    @property
    def n_atom(self) -> int:
        return self.system.n_atom

    @property
    def periodic(self) -> bool:
        return self.system.periodic

    @property
    def mixed(self) -> bool:
        return self.system.mixed

    def frame_types(self, frame: int) -> np.ndarray:
        """(n_atom,) types, -1 for placeholders."""
        return self.system.frame_types(frame)

    def coord(self, frame: int) -> np.ndarray:
        """(n_atom, 3) angstrom."""
        return self.system.coord(frame)

    def cell(self, frame: int) -> np.ndarray | None:
        """(3, 3) angstrom or None."""
        return self.system.cell(frame)

    def content_hash(self, names: Iterable[str]) -> str:
        """Hash of types and of the named arrays, wherever the files lie."""
        return self.system.content_hash(names)
