"""Units and sign conventions, stated once.

Lengths are in angstrom, energies in eV, forces in eV/angstrom, virials in eV, charges in elementary charges.

* ``force[i, a] = -dE/dr_ia``.
* ``virial[3a + b] = sum_i F_ia r_ib`` over real and image atoms. With row vectors ``r' = r (1 + e)``, ``h' = h (1 + e)``
  it equals ``-dE/de_ba``, so it is positive for repulsion. It is not divided by the volume.
* ``stress = -virial / volume`` (positive under tension), the sign of ASE.
* ``atom_virial`` belongs to the atom that is moved, not to the centre whose energy changes; it sums to ``virial``.
* Cell vectors are the rows of ``cell``.
"""

from __future__ import annotations

ENERGY = "eV"
LENGTH = "angstrom"
FORCE = "eV/angstrom"
VIRIAL = "eV"

BOLTZMANN = 8.617333262e-5  # eV/K (CODATA 2018, as in ASE)
TIME_FS = 10.1805057108  # fs: unit of time of eV, angstrom and atomic mass units, angstrom * sqrt(amu/eV)
BAR = 6.241509074e-7  # eV/angstrom^3: one bar
