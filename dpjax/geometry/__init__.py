"""Cells, displacements and the smooth environment matrix: pure functions of coordinates."""
