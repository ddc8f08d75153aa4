#!/usr/bin/env python3
"""Make the data set in ``examples/dplr``: frames of ``examples/water`` with centroids of Wannier functions.

Energy, force and virial (periodic GFN1-xTB) are those of ``examples/water``. For every molecule its own GFN1-xTB calculation in
the electric field of the others gives the dipole moment p, and with it the centroid r_c of its eight valence electrons:

    p = 6 r_O + r_H1 + r_H2 - 8 r_c        (charges in e, lengths in angstrom)

The label ``atomic_dipole`` of an oxygen is the displacement r_c - r_O, angstrom. The field is uniform, that of point charges
(H: 0.41 e) at the oxygen, damped and shifted so that it fades at 5 angstrom: a model with this cut-off can learn it.

    pip install 'dpjax[data]'
    python scripts/make_dplr_data.py --source examples/water --output examples/dplr --jobs 2

Method: GFN1-xTB with tblite, Grimme et al., JCTC 13, 1989 (2017); field after Fennell & Gezelter, JCP 124, 234104 (2006).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process per core is faster than threads inside the solver

BOHR = 0.529177210903  # angstrom
FIELD = 51.42206747632  # V/angstrom of an atomic unit
COULOMB = 14.399645  # V angstrom / e
CHARGES = np.array([-0.82, 0.41, 0.41])  # e, of O, H and H in the field that they make
CORES = np.array([6.0, 1.0, 1.0])  # e, of nuclei without the 1s shell of oxygen
ELECTRONS = 8.0  # in Wannier functions of a molecule
CUTOFF = 5.0  # angstrom, of the field
DAMPING = 0.2  # 1/angstrom
SYSTEMS = {"train_300K": 30, "train_450K": 30, "train_600K": 30, "valid": 24}  # frames taken from each
COPIED = {"coord": np.float32, "box": np.float32, "energy": np.float64, "force": np.float32, "virial": np.float32}


def field_strength(r: np.ndarray) -> np.ndarray:
    """Field of a unit charge at the distance ``r``, V/angstrom: damped, shifted to 0 at the cut-off, and 0 beyond."""
    from scipy.special import erfc

    def damped(r):
        return erfc(DAMPING * r) / r**2 + 2 * DAMPING / np.sqrt(np.pi) * np.exp(-((DAMPING * r) ** 2)) / r

    return np.where(r < CUTOFF, COULOMB * (damped(r) - damped(CUTOFF)), 0.0)


def fields(molecules: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Electric field (n_water, 3) V/angstrom at each oxygen, of the charges of all other molecules and of all images.

    Args:
        molecules: (n_water, 3 sites O H H, 3) angstrom; molecules are whole.
        cell: (3, 3) angstrom, rows are cell vectors.
    """
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    most = np.ceil(CUTOFF / heights).astype(int) + 1
    images = np.stack(np.meshgrid(*[np.arange(-m, m + 1) for m in most], indexing="ij"), -1).reshape(-1, 3)
    oxygens = molecules[:, 0]
    # (centre, image, molecule, site, 3), oxygens in the cell so that images reach far enough
    home = np.floor(oxygens @ np.linalg.inv(cell)) @ cell
    sources, oxygens = molecules - home[:, None], oxygens - home
    disp = oxygens[:, None, None, None] - (sources[None] + (images @ cell)[:, None, None])
    own = (np.arange(len(oxygens))[:, None, None] == np.arange(len(oxygens))) & ~images.any(axis=1)[None, :, None]
    r = np.linalg.norm(disp, axis=-1)
    r = np.where(own[..., None], np.inf, r)
    weight = np.where(r < CUTOFF, field_strength(np.minimum(r, CUTOFF)) * CHARGES / np.minimum(r, CUTOFF), 0.0)
    return np.einsum("cims,cimsd->cd", weight, disp)


def dipole_moment(molecule: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Dipole (3,) e angstrom of one molecule (3 sites O H H, 3) angstrom in a uniform field (3,) V/angstrom."""
    from tblite.interface import Calculator

    centred = molecule - molecule[0]  # the molecule is neutral, so its dipole does not depend on the origin
    made = Calculator("GFN1-xTB", np.array([8, 1, 1]), centred / BOHR)
    made.set("verbosity", 0)
    made.set("accuracy", 0.01)
    made.add("electric-field", (field / FIELD).tolist())
    return made.singlepoint()["dipole"] * BOHR


def centroid(molecule: np.ndarray, dipole: np.ndarray) -> np.ndarray:
    """Displacement (3,) angstrom of the centroid of the valence electrons from the oxygen."""
    return (CORES @ (molecule - molecule[0]) - dipole) / ELECTRONS


def displacements(job: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """(3 n_water,) label of a frame from its molecules (n_water, 3, 3) and its cell (3, 3)."""
    molecules, cell = job
    pairs = zip(molecules, fields(molecules, cell), strict=True)
    return np.concatenate([centroid(molecule, dipole_moment(molecule, field)) for molecule, field in pairs])


def make_system(name: str, n_frame: int, source: Path, output: Path, pool: multiprocessing.pool.Pool) -> None:
    """Writes frames of one system, evenly taken, with their labels."""
    folder = source / name / "set.000"
    values = {key: np.load(folder / f"{key}.npy") for key in COPIED}
    chosen = np.arange(n_frame) * len(values["coord"]) // n_frame
    rows = {key: own[chosen].astype(COPIED[key]) for key, own in values.items()}
    cells = rows["box"].astype(float).reshape(-1, 3, 3)
    jobs = list(zip(rows["coord"].astype(float).reshape(n_frame, -1, 3, 3), cells, strict=True))
    rows["atomic_dipole"] = np.stack(pool.map(displacements, jobs)).astype(np.float32)
    target = output / name
    (target / "set.000").mkdir(parents=True, exist_ok=True)
    for key, own in rows.items():
        np.save(target / "set.000" / f"{key}.npy", own)
    for file in ("type.raw", "type_map.raw"):
        (target / file).write_text((source / name / file).read_text())
    lengths = np.linalg.norm(rows["atomic_dipole"].reshape(-1, 3), axis=1)
    print(
        f"{name}: {n_frame} frames, centroids {lengths.mean():.4f} +- {lengths.std():.4f} angstrom from oxygen",
        flush=True,
    )


def missing_libraries() -> str:
    """Why the script cannot run here; empty if it can."""
    missing = [name for name in ("tblite", "scipy") if find_spec(name) is None]
    return (
        f"{' and '.join(missing)} not found; install what the script needs: pip install 'dpjax[data]'"
        if missing
        else ""
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default=Path("examples/water"), help="frames with their labels")
    parser.add_argument("--output", type=Path, default=Path("examples/dplr"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    args = parser.parse_args()
    if problem := missing_libraries():
        parser.exit(1, f"{parser.prog}: {problem}\n")
    with multiprocessing.Pool(args.jobs) as pool:
        for name, n_frame in SYSTEMS.items():
            make_system(name, n_frame, args.source, args.output, pool)


if __name__ == "__main__":
    main()
