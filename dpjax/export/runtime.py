"""Runs a dpjax artifact (``model.dpx``) without dpjax: needs jax, numpy and flatbuffers.

This one file is the whole runtime. Copy it, or take it out of the artifact with ``unzip model.dpx runtime.py``, then::

    from runtime import Artifact

    model = Artifact("model.dpx")
    out = model.evaluate(coord, atype, cell)   # energy (eV), force (eV/angstrom), virial (eV)

``coord`` is (n_frame, n_atom, 3) in angstrom, ``atype`` holds indices into ``model.type_map``, ``cell`` is (n_frame, 3, 3) with
vectors as rows, or None for open boundaries.

Sizes are padded to a coarse ladder, so that few programs are compiled; ``model.programs`` says how many were so far.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from jax import export

SUFFIX = ".dpx"
FORMAT = "dpjax-artifact"
# a reader takes this one and all before; 2 adds lists that are not sorted by type or not cut before, 3 adds outputs beside
# energies, 4 models that pass messages, 5 charge and spin of frames, 6 forces that are no derivatives, 7 spins of atoms,
# 8 modifiers
FORMAT_VERSION = 8
MANIFEST = "manifest.json"
WEIGHTS = "weights.npz"
MODIFIER = "modifier.dpx"  # an artifact inside the artifact, whose program gives what a modifier adds

COINCIDENT = 1e-6  # angstrom; two atoms nearer than this are one point
MOST_POINTS = 50_000_000  # atoms and images of one frame; above this the cell or its units are wrong
PAIRS_AT_ONCE = 2_000_000  # candidate pairs of the neighbour search held in memory
SLOTS_PER_CALL = 1_000_000  # neighbour slots of one call when many small frames are given
SLOTS_PER_BLOCK = 1_000_000  # on accelerators, of one block
ROOM = 1.15  # of lists and bins of the program that finds neighbours, over what a structure was seen to need
BIN_FULL, LIST_FULL = 1, 2  # flags that a larger size cures
PAIRS_PER_SLOT = 4  # pairs of neighbours that take the memory of one slot, in models that work on pairs
CPU_BLOCK = 32  # atoms whose activations stay in a processor's cache
CPU_PAIRS = 2500  # pairs of neighbours of which the same holds, where networks run for pairs

log = logging.getLogger("dpx")


class ArtifactError(ValueError):
    """The file cannot be used here, or what was given does not fit the model; the message says what to do."""


def program_member(entry: str) -> str:
    """Name inside the artifact of the program of an entry point."""
    return f"programs/{entry}.bin"


# --- the file -----------------------------------------------------------------------------------------------------------------


class Container:
    """An opened artifact: every member was compared with its checksum.

    Args:
        path: ``.dpx`` file.
        data: its contents, of one inside another file; None: they are read.

    Attributes:
        manifest: contents of ``manifest.json``.

    Raises:
        ArtifactError: missing, no artifact, cut short, damaged, or written for a newer reader.
    """

    def __init__(self, path: str | os.PathLike, data: bytes | None = None):
        self.path = Path(path)
        self._members = self._read() if data is None else self._unzipped(io.BytesIO(data))
        self.manifest = self._manifest()
        self._check_members()

    def program(self, entry: str) -> bytes:
        """The serialised program of an entry point."""
        return self._members[self.manifest["entries"][entry]["member"]]

    def inside(self, member: str) -> Container:
        """An artifact that is a member of this one."""
        return Container(self.path, self._members[member])

    def weights(self) -> dict[str, np.ndarray]:
        """Weights by name, in the precision they were stored with."""
        described = self.manifest["weights"]
        with np.load(io.BytesIO(self._members[described["member"]]), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        out = {}
        for name, (dtype, shape) in described["arrays"].items():
            array = arrays[name]
            dtype = jax.numpy.dtype(dtype)  # knows bfloat16, which NumPy alone does not
            out[name] = (array if array.dtype == dtype else array.view(dtype)).reshape(shape)
        return out

    def _read(self) -> dict[str, bytes]:
        if not self.path.is_file():
            raise ArtifactError(f"{self.path}: no such file; expected an artifact written by `dpjax freeze`")
        with open(self.path, "rb") as file:
            start = file.read(2)
        if start != b"PK":
            raise ArtifactError(f"{self.path}: not an artifact: it does not start as a zip file does")
        return self._unzipped(self.path)

    def _unzipped(self, file: Path | io.BytesIO) -> dict[str, bytes]:
        try:
            with zipfile.ZipFile(file) as archive:
                return {name: self._member(archive, name) for name in archive.namelist()}
        except zipfile.BadZipFile as error:
            raise ArtifactError(
                f"{self.path}: the end of the file is missing or damaged ({error}); copy the artifact again"
            ) from error

    def _member(self, archive: zipfile.ZipFile, name: str) -> bytes:
        try:
            return archive.read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise ArtifactError(f"{self.path}: {name} is damaged ({error}); copy the artifact again") from error

    def _manifest(self) -> dict:
        if MANIFEST not in self._members:
            raise ArtifactError(f"{self.path}: a zip file without {MANIFEST}, so no artifact of dpjax")
        try:
            manifest = json.loads(self._members[MANIFEST])
            kind, number = manifest["format"], int(manifest["format_version"])
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"{self.path}: {MANIFEST} cannot be read ({error!r}); copy the artifact again"
            ) from error
        if kind != FORMAT:
            raise ArtifactError(f"{self.path}: found format {kind!r}, expected {FORMAT!r}")
        if number > FORMAT_VERSION:
            raise ArtifactError(
                f"{self.path}: format version {number}, written by dpjax {manifest.get('made_with', {}).get('dpjax')}; this "
                f"runtime reads up to {FORMAT_VERSION}. Take the runtime out of the artifact: unzip {self.path.name} runtime.py"
            )
        return manifest

    def _check_members(self) -> None:
        for name, digest in self.manifest["sha256"].items():
            if name not in self._members:
                raise ArtifactError(f"{self.path}: {name} is missing; copy the artifact again")
            if hashlib.sha256(self._members[name]).hexdigest() != digest:
                raise ArtifactError(f"{self.path}: {name} does not match its checksum; copy the artifact again")


# --- evaluation ---------------------------------------------------------------------------------------------------------------


class Artifact:
    """A model ready to use.

    Args:
        path: ``.dpx`` file, or one that is open.
        device: where to compute; None: JAX's default device.

    Attributes:
        manifest: everything the artifact says about itself.
        type_map: element names in the order of ``atype``.
        rcut: cut-off, angstrom.

    Raises:
        ArtifactError: the file is damaged, too new for this runtime or this JAX, or not made for this platform.
    """

    def __init__(self, path: str | os.PathLike | Container, device: jax.Device | None = None):
        self._container = path if isinstance(path, Container) else Container(path)
        self.path, self.manifest = self._container.path, self._container.manifest
        self.type_map: list[str] = self.manifest["type_map"]
        self.rcut: float = self.manifest["rcut"]
        self._device = jax.devices()[0] if device is None else device
        _check_convention(self.path, self.manifest)
        self._platform = _platform(self._device)
        if self._platform not in self.manifest["platforms"]:
            raise ArtifactError(
                f"{self.path}: made for {', '.join(self.manifest['platforms'])}, not for {self._platform}, which is what "
                "JAX runs on here. Freeze it again with this platform, or choose another: JAX_PLATFORMS=cpu"
            )
        self._calls: dict[str, object] = {}
        self._listed = Capacity()
        self._signatures: set[tuple] = set()
        self._warned = False
        self._watched = 0  # frames of a compressed model
        with jax.enable_x64(True):
            self._weights = jax.device_put(self._container.weights(), self._device)
        added = self.manifest.get("modifier")
        self._modifier = None if added is None else Artifact(self._container.inside(added["member"]), self._device)

    @property
    def _messages(self) -> bool:
        """Whether all atoms see one another."""
        return self.manifest.get("messages", False)

    @property
    def programs(self) -> int:
        """Programs compiled so far: one for each entry point and each set of padded sizes."""
        return len(self._signatures) + (0 if self._modifier is None else self._modifier.programs)

    def __repr__(self) -> str:
        return f"Artifact({str(self.path)!r}, type_map={self.type_map}, rcut={self.rcut})"

    def evaluate(
        self,
        coord,
        atype,
        cell=None,
        fparam=None,
        aparam=None,
        atomic: bool = False,
        force: bool = True,
        hessian: bool = False,
        search_on_device: bool = False,
        charge_spin=None,
        spin=None,
    ) -> dict[str, np.ndarray]:
        """Energies, forces and virials of frames with equally many atoms, or what else the model predicts.

        Args:
            coord: (n_frame, n_atom, 3) angstrom; may lie outside the cell.
            atype: (n_atom,) or (n_frame, n_atom) indices into ``type_map``; -1 marks a placeholder with zero output.
            cell: (n_frame, 3, 3) or (n_frame, 9) angstrom, rows are the cell vectors; None for open boundaries.
            fparam: (n_frame, numb_fparam); the model's default where absent.
            aparam: (n_frame, n_atom, numb_aparam).
            atomic: add ``atom_energy`` (n_frame, n_atom, 1), ``atom_virial`` (n_frame, n_atom, 9), ``mask`` (n_frame, n_atom).
            force: False leaves force and virial out and is faster; not together with ``atomic``.
            hessian: add ``hessian`` (n_frame, 3 n_atom, 3 n_atom) eV/angstrom^2, if the artifact was frozen with it.
            search_on_device: the program finds the neighbours, which are otherwise found here with NumPy.  Frames go one by one;
                not together with ``atomic`` or ``hessian``.  Those of a modifier's dipole model are always found here.
            charge_spin: (n_frame, 2) charge and spin of each frame, for models that take them; the model's default where absent.
            spin: (n_frame, n_atom, 3) magnetic moments of the atoms, for models that take them; what types without spin have is
                not used.

        Returns:
            ``energy`` (n_frame, 1) eV, ``force`` (n_frame, n_atom, 3) eV/angstrom, ``virial`` (n_frame, 9) eV, with spins also
            ``force_mag`` (n_frame, n_atom, 3) eV per unit of spin and ``mask_mag`` (n_frame, n_atom, 1) bool, True for atoms of
            types that carry one.  The virial is missing where the forces of the model are no derivatives of its energy
            (``direct_forces`` in the manifest).  Models of other quantities give the values of frames and of atoms under the names
            in ``manifest["predicts"]``, and with ``atomic`` a mask of the atoms that count and, of dipoles, derivatives with an
            axis for the component.

        Raises:
            ArtifactError: shapes, types or numbers that do not fit.
        """
        if atomic and not force:
            raise ArtifactError("atomic=True includes forces; leave force=False out")
        if hessian and "hessian" not in self.manifest["entries"]:
            raise ArtifactError(
                f"{self.path}: holds no program for Hessians; freeze it with --hessian, if it predicts energies and forces that "
                "are their derivatives"
            )
        if search_on_device and (atomic or hessian):
            raise ArtifactError("search_on_device gives energy, force and virial; leave atomic and hessian out")
        if atomic and self._modifier:
            raise ArtifactError(
                "atomic: this model has a modifier, whose energy belongs to all charges together, not to single atoms; leave it out"
            )
        frames = _frames(self.manifest, coord, atype, cell, fparam, aparam, charge_spin, spin)
        if not frames:
            return {}
        if search_on_device:
            rows = [self._run_with_search(frame, i) for i, frame in enumerate(frames)]
            derived = () if force else ("force", "virial", "force_mag", "mask_mag")
            rows = [{name: value for name, value in row.items() if name not in derived} for row in rows]
        else:
            for i, frame in enumerate(frames):
                self._find_neighbors(frame, i)
            rows = self._run(self._entry(atomic, force), frames, atomic)
        if hessian:
            rows = [row | more for row, more in zip(rows, self._run("hessian", frames, atomic))]
        if self._modifier:
            rows = [self._corrected(row, frame, i) for i, (row, frame) in enumerate(zip(rows, frames))]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def _corrected(self, row: dict[str, np.ndarray], frame: Frame, i: int) -> dict[str, np.ndarray]:
        """Results for a frame with what the modifier adds."""
        types = np.asarray(self.manifest["modifier"]["types"])[frame.atype]
        added = self._modifier.correction(frame.coord, types, frame.cell, i)
        force = np.zeros((len(frame.real), 3))
        force[frame.real] = added["force"]
        added["force"] = force
        return row | {name: row[name] + value for name, value in added.items() if name in row}

    def correction(
        self, coord: np.ndarray, atype: np.ndarray, cell: np.ndarray | None, i: int
    ) -> dict[str, np.ndarray]:
        """Of the artifact of a modifier: the energy (1,), forces (n_atom, 3) and virial (9,) of the charges of one frame.

        Args:
            coord, atype, cell: (n_atom, 3) angstrom, (n_atom,) types of the dipole model, (3, 3) angstrom.
            i: number of the frame, for messages.

        Raises:
            ArtifactError: no cell; what :meth:`evaluate` raises.
        """
        if cell is None:
            raise ArtifactError(
                f"frame {i}: this model has the modifier dipole_charge, an Ewald sum over a cell that repeats in all directions, "
                "and the structure has none. Give it a cell with enough room around it."
            )
        [frame] = _frames(self.manifest, coord[None], atype, cell[None], None, None)
        self._find_neighbors(frame, i)
        sizes = Sizes.choose([[frame]], _neighbor_sizes([frame], self.manifest), self.manifest, self._platform)
        structure, places = pack([frame], sizes, by_type=_by_type(self.manifest), messages=self._messages)
        structure["vectors"] = vectors(cell, self.manifest["charges"]["spacing"])
        entry = "correction"
        self._signatures.add((entry, sizes, tuple(map(len, structure["vectors"]))))
        with jax.enable_x64(True):
            out = self._call(entry, structure)
        return self._unpack(entry, out, [frame], places, atomic=False)[0]

    def _entry(self, atomic: bool, force: bool) -> str:
        """The program that gives what is asked for."""
        entries = self.manifest["entries"]
        if atomic and "atomic" in entries:
            return "atomic"
        if not force and "energy" in entries:
            return "energy"
        return "output" if "output" in entries else "energy_force_virial"

    def _find_neighbors(self, frame: Frame, i: int) -> None:
        try:
            edges = self._edges(frame)
        except ArtifactError as error:
            raise ArtifactError(f"frame {i}: {error}") from None
        sel = np.asarray([np.inf if keep is None else keep for keep in self.manifest["sel"]])
        self._check_pair_tables(edges, i)
        self._watch_tables(edges, frame)
        edges, most = edges.ordered(frame.point_section, len(sel))
        self._warn_truncation(edges, frame)
        frame.edges = edges.truncated(frame.point_section, sel) if np.any(most > sel) else edges

    def _check_pair_tables(self, edges: Edges, i: int) -> None:
        """Pairs below the first distance of a pair table have no energy there."""
        start = self.manifest.get("pair_table_start", 0.0)
        if len(edges.square) and edges.square.min() < start**2:
            raise ArtifactError(
                f"frame {i}: two atoms are {np.sqrt(edges.square.min()):.4g} angstrom apart, but a pair table of the model begins "
                f"at {start:g} angstrom. Extend the table to shorter distances and make the model anew, or leave the structure out."
            )

    def _edges(self, frame: Frame) -> Edges:
        """All neighbours; atoms that take no part, where the model has such, are nobody's, and may lie on one point.

        Virtual atoms for spins are neighbours like others.  They have neighbours of their own where messages pass.
        """
        if frame.spin is not None:
            edges = search_points(frame, self.rcut)
            return edges if self._messages else edges.take(edges.centre < len(frame.coord))
        least = 1.0 if self.manifest.get("mask") else 0.0 if self.manifest.get("fragments") else None
        if least is None:
            return search(frame.coord, frame.cell, self.rcut)
        real = np.flatnonzero(frame.aparam[:, 0] >= least)
        found = search(frame.coord[real], frame.cell, self.rcut)
        return Edges(frame.coord, real[found.centre], real[found.index], found.shift, found.square)

    def _watch_tables(self, edges: Edges, frame: Frame) -> None:
        """Of a compressed model, count the neighbours beyond its tables with every so many frames, where it was made to do so."""
        made = self.manifest.get("compress")
        if made is None or made["table_config"][-1] < 1:
            return
        self._watched += 1
        if (self._watched - 1) % made["table_config"][-1]:
            return
        short = edges.square < np.asarray(made["nearest"])[frame.atype[edges.centre]] ** 2
        if short.any():
            log.warning(
                "frame %d: %d of %d neighbours are beyond the tables of the compressed model, the nearest at %.3f angstrom",
                self._watched - 1, short.sum(), len(short), np.sqrt(edges.square.min()),
            )  # fmt: skip

    def _warn_truncation(self, edges: Edges, frame: Frame) -> None:
        """Say once where descriptors leave neighbours out."""
        for cut in () if self._warned else _watched_cuts(self.manifest):
            kind = frame.point_types if cut["by_type"] else np.zeros_like(frame.point_types)
            sel = np.asarray(cut["sel"])
            near = edges if cut["rcut"] >= self.rcut else edges.take(edges.square < cut["rcut"] ** 2)
            most = near.count(kind, len(sel)).max(axis=0, initial=0)
            for t in np.flatnonzero(most > sel):
                self._warn(cut, t, most[t])

    def _warn(self, cut: dict, t: int, most: int) -> None:
        log.warning(
            "an atom has %d neighbours%s within %g angstrom, but sel%s keeps %d: the farthest are left out",
            most, f" of type {_names(self.manifest)[t]}" if cut["by_type"] else "", cut["rcut"],
            f" of {cut['part']}" if cut["part"] else "", cut["sel"][t],
        )  # fmt: skip
        self._warned = True

    def _run(self, entry: str, frames: list[Frame], atomic: bool) -> list[dict[str, np.ndarray]]:
        """All frames in groups of one size, so that the last, shorter group compiles nothing new."""
        nbrs = _neighbor_sizes(frames, self.manifest)
        per_call = max(1, SLOTS_PER_CALL // max(1, len(frames[0].real) * sum(nbrs)))
        groups = [frames[i : i + per_call] for i in range(0, len(frames), per_call)]
        sizes = Sizes.choose(groups, nbrs, self.manifest, self._platform)
        self._signatures.add((entry, sizes))
        rows = []
        with jax.enable_x64(True):
            for group in groups:
                structure, places = pack(group, sizes, by_type=_by_type(self.manifest), messages=self._messages)
                if entry == "hessian":
                    number_atoms(structure, group, places)
                out = self._call(entry, structure)
                rows += self._unpack(entry, out, group, places, atomic=atomic)
        return rows

    def _call(self, entry: str, structure: dict) -> dict[str, np.ndarray]:
        """Outputs of a program; call it with 64-bit types on."""
        if entry not in self._calls:
            self._calls[entry] = jax.jit(export.deserialize(bytearray(self._container.program(entry))).call)
        return jax.device_get(self._calls[entry](self._weights, jax.device_put(structure, self._device)))

    def _run_with_search(self, frame: Frame, i: int) -> dict[str, np.ndarray]:
        """One frame through the program that finds neighbours, with larger sizes until nothing is missing."""
        entry, n_section = "from_coordinates", len(self.manifest["sel"])
        bins = divide(frame, self.rcut)
        if self._listed.nbrs is None:  # a first guess, so that the first program is the right one
            most = self._edges(frame).ordered(frame.point_section, n_section)[1]
            most = np.where(_absent(self.manifest), 0, np.maximum(most, 1))
            self._listed = Capacity(tuple(ladder(int(n * ROOM), 4) if n else 0 for n in most), (1,) * n_section)
        self._listed = self._listed.holding(atoms_in_bins(frame, bins, n_section), (0,) * n_section)
        while True:
            sizes = Sizes.choose([[frame]], self._listed.nbrs, self.manifest, self._platform)
            structure, places = pack([frame], sizes, by_type=_by_type(self.manifest), messages=self._messages)
            structure |= bins.arrays() | {"bin_atoms": [np.zeros(size, np.int8) for size in self._listed.bin_atoms]}
            with jax.enable_x64(True):
                self._signatures.add((entry, sizes, self._listed.bin_atoms, bins.shape))
                out = self._call(entry, structure)
            if not out["flags"][0]:
                break
            if out["flags"][0] & ~(BIN_FULL | LIST_FULL):
                raise ArtifactError(
                    f"frame {i}: the program cannot list neighbours in this cell (flags {out['flags'][0]}): {frame.cell}"
                )
            self._listed = self._listed.holding(out["bin_atoms"], out["nbrs"])
        if not np.isfinite(out[self.manifest["predicts"]["total"]]).all():
            raise ArtifactError(f"frame {i}: the result is not finite; two atoms are on one point, or nearly so")
        self._warn_crowded(out["nbrs"])
        return self._unpack(entry, out, [frame], places, atomic=False)[0]

    def _warn_crowded(self, most: np.ndarray) -> None:
        """:meth:`_warn_truncation` where only the numbers of neighbours within the model's cut-off are known."""
        for cut in () if self._warned else _watched_cuts(self.manifest):
            sel = np.asarray(cut["sel"])
            if cut["rcut"] < self.rcut or (len(most) > 1) != (len(sel) > 1):
                continue
            for t in np.flatnonzero(most > sel):
                self._warn(cut, t, int(most[t]))

    def _unpack(
        self, entry: str, out: dict, group: list[Frame], places: np.ndarray, *, atomic: bool
    ) -> list[dict[str, np.ndarray]]:
        described = self.manifest["entries"][entry]["outputs"]
        wanted = [name for name in described if atomic or name != "atom_energy"]
        rows, start = [], 0
        for i, frame in enumerate(group):
            own = places[start : start + len(frame.atype)]
            start += len(own)
            row = {}
            for name in wanted:
                values = out[name]
                if name == "hessian":
                    row[name] = square_of(values[own], frame.real)
                    continue
                if described[name]["shape"][0] == "frames":
                    row[name] = values[i]
                else:
                    values = values if values.ndim > 1 else values[:, None]
                    row[name] = np.zeros((len(frame.real), *values.shape[1:]))
                    row[name][frame.real] = values[own]
            if "force_mag" in wanted:
                row["mask_mag"] = np.zeros((len(frame.real), 1), bool)
                row["mask_mag"][frame.real, 0] = frame.scale != 0.0
            if atomic:
                silent = self.manifest["atom_exclude_types"]
                row["mask"] = (frame.real & ~np.isin(frame.all_types, silent)).astype(np.int32)
            rows.append(row)
        return rows


def _check_convention(path: Path, manifest: dict) -> None:
    """Whether this JAX can call programs of the artifact's calling convention."""
    needed = manifest["calling_convention_version"]
    low, high = export.minimum_supported_calling_convention_version, export.maximum_supported_calling_convention_version
    made = manifest["made_with"]["jax"]
    if needed > high:
        raise ArtifactError(
            f"{path}: its programs use calling convention {needed} (made with jax {made}), but jax {jax.__version__} knows up to "
            f"{high}; install jax {made} or newer"
        )
    if needed < low:
        raise ArtifactError(
            f"{path}: its programs use calling convention {needed} (made with jax {made}), which jax {jax.__version__} no longer "
            f"knows (from {low} on); freeze the model again, or install a jax nearer to {made}"
        )


def _by_type(manifest: dict) -> bool:
    """Whether atoms and neighbours come in sections by type; else in one section."""
    return manifest.get("by_type", True)  # format 1 did not have to say it


def _scale(manifest: dict) -> list[float]:
    """Distance of virtual atoms for each type, angstrom per unit of spin, 0 without; empty for models without spins."""
    return manifest.get("spin", {"scale": []})["scale"]


def _absent(manifest: dict) -> np.ndarray:
    """(n_section,) which sections of neighbours are virtual atoms of types without spin, and have no slots."""
    absent = np.zeros(len(manifest["sel"]), bool)
    if _by_type(manifest) and _scale(manifest):
        absent[len(manifest["type_map"]) :] = np.equal(_scale(manifest), 0.0)
    return absent


def _names(manifest: dict) -> list[str]:
    """Of types, then of the virtual atoms for their spins."""
    return manifest["type_map"] + [f"{name}_spin" for name in manifest["type_map"] if _scale(manifest)]


def _watched_cuts(manifest: dict) -> list[dict]:
    """:func:`_cuts` that lists tell about: none where descriptors see some of the atoms at a time."""
    return [] if manifest.get("fragments") else _cuts(manifest)


def _cuts(manifest: dict) -> list[dict]:
    """What each descriptor of the model keeps; ``part`` says where it stands in a hybrid."""
    alone = {"part": "", "rcut": manifest["rcut"], "by_type": True, "sel": manifest["sel"]}
    return manifest.get("cuts", [alone])  # format 1 did not have to say it


def _platform(device: jax.Device) -> str:
    """Name under which ``jax.export`` knows the platform of a device."""
    if device.platform != "gpu":
        return device.platform
    return "rocm" if "rocm" in device.client.platform_version.lower() else "cuda"


# --- what the user gives ------------------------------------------------------------------------------------------------------


@dataclass
class Frame:
    """One frame without its placeholders, and, once found, its neighbours."""

    coord: np.ndarray  # (n, 3) angstrom
    atype: np.ndarray  # (n,)
    cell: np.ndarray | None  # (3, 3)
    fparam: np.ndarray | None  # (numb_fparam,)
    aparam: np.ndarray | None  # (n, numb_aparam)
    charge_spin: np.ndarray | None  # (2,)
    all_types: np.ndarray  # (n_given,) with placeholders
    point_types: np.ndarray  # (n_point,) of atoms, with spins then of their virtual atoms; -1 where there is none
    point_section: np.ndarray  # (n_point,) their types, or 0 where there is one section for all
    first: int | None = None  # type of the first atom as given, for models that take it
    spin: np.ndarray | None = None  # (n, 3)
    scale: np.ndarray | None = None  # (n,) angstrom per unit of spin, 0 for types without
    edges: Edges | None = None

    @property
    def real(self) -> np.ndarray:
        """(n_given,) which of the given atoms are no placeholders."""
        return self.all_types >= 0

    @property
    def section(self) -> np.ndarray:
        """(n,) of the atoms."""
        return self.point_section[: len(self.atype)]

    def points(self, coord: np.ndarray) -> np.ndarray:
        """(n_point, 3) angstrom: atoms at ``coord`` and, with spins, then their virtual atoms."""
        if self.spin is None:
            return coord
        length = self.scale[:, None]
        return np.concatenate([coord, coord + np.where(length != 0.0, length * self.spin, 0.0)])


def _frames(manifest: dict, coord, atype, cell, fparam, aparam, charge_spin=None, spin=None) -> list[Frame]:
    coord = _numbers(coord, "coord")
    if coord.ndim != 3 or coord.shape[-1] != 3:
        raise ArtifactError(
            f"coord: found shape {coord.shape}, expected (n_frame, n_atom, 3); use coord[None] for one frame"
        )
    n_frame, n_atom = coord.shape[:2]
    types = _types(manifest, atype, n_frame, n_atom)
    cell = None if cell is None else _shaped(cell, (n_frame, 3, 3), "cell")
    fparam = _parameters(fparam, "fparam", (n_frame, manifest["numb_fparam"]), manifest["default_fparam"])
    aparam = _parameters(aparam, "aparam", (n_frame, n_atom, manifest["numb_aparam"]))
    charge_spin = _charge_spin(manifest, charge_spin, n_frame)
    spin, scale = _spins(manifest, spin, types)
    if manifest.get("mask"):
        _check_mask(cell, types, aparam)
    if manifest.get("fragments"):
        _check_fragments(manifest["fragments"], cell, types, aparam)
    out = []
    for i in range(n_frame):
        real = types[i] >= 0
        bad = np.flatnonzero(real & ~np.isfinite(coord[i]).all(axis=1))
        if len(bad):
            raise ArtifactError(
                f"frame {i}: the coordinates of atom {bad[0]} are {coord[i, bad[0]].tolist()}; expected finite numbers"
            )
        own = types[i][real]
        points = own if spin is None else _point_types(own, scale[i][real], len(manifest["type_map"]))
        section = points if _by_type(manifest) else np.minimum(points, 0)
        out.append(
            Frame(
                coord[i][real],
                own,
                None if cell is None else cell[i],
                None if fparam is None else fparam[i],
                None if aparam is None else aparam[i][real],
                None if charge_spin is None else charge_spin[i],
                types[i],
                points,
                section,
                _first(types[i]) if "first" in manifest["inputs"] else None,
                None if spin is None else spin[i][real],
                None if spin is None else scale[i][real],
            )
        )
    return out


def _point_types(atype: np.ndarray, scale: np.ndarray, n_type: int) -> np.ndarray:
    """(2 n,) types of n atoms, then of their virtual atoms, -1 where there is none."""
    return np.concatenate([atype, np.where(scale != 0.0, atype + n_type, -1)])


def _check_mask(cell: np.ndarray | None, types: np.ndarray, aparam: np.ndarray) -> None:
    """Frames of a model with virtual atoms are open, and their atomic parameter is 1 or 0."""
    if cell is not None:
        raise ArtifactError("cell: this model is for open boundaries, where every atom sees all others; leave it out")
    bad = np.argwhere(~((aparam[..., 0] > -1) & (aparam[..., 0] < 2)) & (types >= 0))
    if len(bad):
        frame, atom = bad[0]
        raise ArtifactError(
            f"frame {frame}: aparam of atom {atom} is {aparam[frame, atom, 0]:g}; expected 1 for a real or 0 for a virtual atom"
        )


def _check_fragments(how: dict, cell: np.ndarray | None, types: np.ndarray, aparam: np.ndarray) -> None:
    """The atomic parameter numbers fragments; models as DeePMD-kit has them know no cells."""
    if cell is not None and not how["cells"]:
        raise ArtifactError(
            "cell: DeePMD-kit evaluates models of type pairwise_dprc without periodic images, and so does this one, which was "
            "imported from there; leave it out"
        )
    number = aparam[..., 0]
    bad = np.argwhere(((number < -1) | (number != np.round(number))) & (types >= 0))
    if len(bad):
        frame, atom = bad[0]
        raise ArtifactError(
            f"frame {frame}: aparam of atom {atom} is {number[frame, atom]:g}; expected the number of its fragment: 0 for QM "
            "atoms, 1, 2, ... for MM fragments, -1 for atoms that take no part"
        )


def _first(types: np.ndarray) -> int:
    """Type of a frame's first atom, -1 for a placeholder; 0 for frames without atoms."""
    return int(types[0]) if len(types) else 0


def _numbers(value, name: str) -> np.ndarray:
    try:
        return np.asarray(value, dtype=np.float64)
    except (ValueError, TypeError):
        raise ArtifactError(
            f"{name}: expected one rectangular array of numbers; frames of different sizes go one by one"
        ) from None


def _shaped(value, shape: tuple[int, ...], name: str) -> np.ndarray:
    array = _numbers(value, name)
    if array.size != np.prod(shape) or (array.ndim and array.shape[0] != shape[0]):
        raise ArtifactError(f"{name}: found shape {array.shape}, expected {shape}")
    return array.reshape(shape)


def _types(manifest: dict, atype, n_frame: int, n_atom: int) -> np.ndarray:
    types, names = np.asarray(atype), manifest["type_map"]
    if types.shape not in ((n_atom,), (n_frame, n_atom)) or not (
        np.issubdtype(types.dtype, np.integer) or not types.size
    ):
        raise ArtifactError(
            f"atype: found {types.dtype} of shape {types.shape}, expected integers of shape ({n_atom},) or ({n_frame}, {n_atom})"
        )
    if types.size and (types.max() >= len(names) or types.min() < -1):
        raise ArtifactError(
            f"atype: found types {types.min()}..{types.max()}, expected 0..{len(names) - 1} ({', '.join(names)}) or -1 for a "
            "placeholder"
        )
    return np.broadcast_to(types, (n_frame, n_atom)).astype(np.int64)


def _parameters(value, name: str, shape: tuple[int, ...], default=None) -> np.ndarray | None:
    if not shape[-1]:
        if value is not None:
            raise ArtifactError(f"{name} was given but this model takes none; leave it out")
        return None
    if value is None and default is None:
        raise ArtifactError(f"this model needs {name} of shape {shape}")
    return np.broadcast_to(np.asarray(default, float), shape) if value is None else _shaped(value, shape, name)


def _charge_spin(manifest: dict, value, n_frame: int) -> np.ndarray | None:
    """(n_frame, 2) within their ranges, for models that take them."""
    known = manifest.get("charge_spin", {"default_chg_spin": None, "ranges": {}})
    ranges = known["ranges"]
    rows = _parameters(value, "charge_spin", (n_frame, len(ranges)), known["default_chg_spin"])
    for column, (name, (least, most)) in enumerate(ranges.items()):
        wrong = np.flatnonzero(~((least - 1 < rows[:, column]) & (rows[:, column] < most + 1)))
        if len(wrong):
            raise ArtifactError(
                f"charge_spin of frame {wrong[0]}: the {name} is {rows[wrong[0], column]:g}; expected {least} to {most}"
            )
    return rows


def _spins(manifest: dict, value, types: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(n_frame, n_atom, 3) spins, and (n_frame, n_atom) distances of virtual atoms per unit of them; None without spins."""
    if not _scale(manifest):
        if value is not None:
            raise ArtifactError("spin was given but this model takes none; leave it out")
        return None, None
    shape = (*types.shape, 3)
    if value is None:
        raise ArtifactError(f"this model needs spin of shape {shape}, the magnetic moment of each atom; zeros for none")
    spin = _shaped(value, shape, "spin")
    scale = np.append(_scale(manifest), 0.0)[types]  # the last one for placeholders
    length = np.linalg.norm(spin, axis=-1)
    if not np.isfinite(length).all():
        raise ArtifactError(
            f"spin of frame {np.argwhere(~np.isfinite(length))[0][0]}: found a number that is not finite"
        )
    short = np.argwhere((scale != 0.0) & (np.abs(scale) * length < COINCIDENT))
    if len(short) and not manifest["spin"]["may_be_zero"]:
        raise ArtifactError(
            f"spin of frame {short[0][0]}: that of atom {short[0][1]} is zero, where this model has no energy (env_protection is 0)"
        )
    return spin, scale


# --- neighbours ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Edges:
    """Pairs (centre, neighbour) nearer than the cut-off; arrays (n_edge, ...)."""

    coord: np.ndarray  # (n_atom, 3) angstrom, inside the cell; what shift refers to
    centre: np.ndarray
    index: np.ndarray
    shift: np.ndarray  # (n_edge, 3) cell vectors added to the neighbour
    square: np.ndarray  # squared distance

    def take(self, order: np.ndarray) -> Edges:
        """The edges of ``order``, indices or mask."""
        return Edges(self.coord, self.centre[order], self.index[order], self.shift[order], self.square[order])

    def group(self, section: np.ndarray, n_section: int) -> np.ndarray:
        """(n_edge,) one number for each pair of a centre and a section of its neighbours; ``section`` (n_atom,) as in Frame."""
        return self.centre * n_section + section[self.index]

    def count(self, section: np.ndarray, n_section: int) -> np.ndarray:
        """(n_atom, n_section) neighbours of each atom and section."""
        group = self.group(section, n_section)
        return np.bincount(group, minlength=len(self.coord) * n_section).reshape(-1, n_section)

    def ordered(self, section: np.ndarray, n_section: int) -> tuple[Edges, np.ndarray]:
        """Sorted by centre, section and distance; and the most neighbours of each section that an atom has."""
        edges = self.take(np.lexsort((self.square, self.group(section, n_section))))
        return edges, edges.count(section, n_section).max(axis=0, initial=0)

    def truncated(self, section: np.ndarray, sel: np.ndarray) -> Edges:
        """The two-step rule on ordered edges: the nearest ``sum(sel)`` of an atom, then of each section the nearest ``sel[t]``."""
        by_distance = np.lexsort((self.square, self.centre))
        start = np.searchsorted(self.centre, np.arange(len(self.coord) + 1))  # ordered edges are sorted by centre
        limit = np.full(len(self.coord), np.inf)
        crowded = np.flatnonzero(np.diff(start) > sel.sum())
        limit[crowded] = self.square[by_distance[start[crowded] + sel.sum() - 1]]
        near = self.take(self.square <= limit[self.centre])
        return near.take(_rank(near.group(section, len(sel))) < sel[section[near.index]])


def _rank(group: np.ndarray) -> np.ndarray:
    """Position of each entry within its run of equal numbers, for ``group`` ascending."""
    return np.arange(len(group)) - np.searchsorted(group, group)


def search(coord: np.ndarray, cell: np.ndarray | None, rcut: float, atom: np.ndarray | None = None) -> Edges:
    """All pairs nearer than ``rcut``, images included, in time linear in the number of atoms.

    Args:
        coord: (n_atom, 3) angstrom.
        cell: (3, 3) angstrom, any shape, however thin; None for open boundaries.
        rcut: angstrom.
        atom: (n_atom,) that each belongs to; those of one atom may be on one point. None: each is an atom.

    Raises:
        ArtifactError: a cell without volume, two atoms on one point.
    """
    n_atom = len(coord)
    shift = np.zeros((n_atom, 3), np.int64)
    owner = np.arange(n_atom)
    points = coord
    if cell is not None and n_atom:
        coord, owner, shift = _images(coord, cell, rcut)
        points = coord[owner] + shift @ cell
    centre, other, square = _near_pairs(points, n_atom, rcut)
    _check_apart(centre, owner[other], square, np.arange(n_atom) if atom is None else atom)
    return Edges(coord, centre, owner[other], shift[other], square)


def _check_apart(centre: np.ndarray, index: np.ndarray, square: np.ndarray, atom: np.ndarray) -> None:
    """Raise ArtifactError for two atoms on one point; arguments as for :func:`search` and in :class:`Edges`."""
    close = np.flatnonzero(square < COINCIDENT**2)
    close = close[(atom[centre[close]] != atom[index[close]]) | (centre[close] == index[close])]
    if len(close):
        worst = close[square[close].argmin()]
        pair = sorted((int(atom[centre[worst]]), int(atom[index[worst]])))
        raise ArtifactError(f"atoms {pair[0]} and {pair[1]} are on one point; remove one of them")


def search_points(frame: Frame, rcut: float) -> Edges:
    """The neighbours of the atoms of a frame and of the virtual atoms for their spins.

    Shifts refer to virtual atoms that are next to their atoms, wherever these lie in the cell.
    """
    n, cell = len(frame.coord), frame.cell
    coord = frame.coord if cell is None else _wrapped(frame.coord, cell)[0]
    there = np.flatnonzero(frame.point_types >= 0)
    points = frame.points(coord)
    found = search(points[there], cell, rcut, there % max(n, 1))
    shift = found.shift
    if cell is not None and n:
        turns = np.rint((points[there] - found.coord) @ np.linalg.inv(cell)).astype(np.int64)
        shift = shift + turns[found.centre] - turns[found.index]
    return Edges(points, there[found.centre], there[found.index], shift, found.square)


def _wrapped(coord: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates moved into the cell, in angstrom and as fractions of the cell vectors."""
    fraction = coord @ np.linalg.inv(cell)
    turns = np.floor(fraction)
    return coord - turns @ cell, fraction - turns


def _images(coord: np.ndarray, cell: np.ndarray, rcut: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates wrapped into the cell; then owner and shift of all points within ``rcut`` of the cell, the atoms first."""
    reach = rcut / _heights(cell)  # the cut-off in units of the cell's heights
    if len(coord) * np.prod(1 + 2 * reach) > MOST_POINTS:
        raise ArtifactError(
            f"the cell {cell.tolist()} is too small for a cut-off of {rcut} angstrom; check the units (angstrom)"
        )
    wrapped, fraction = _wrapped(coord, cell)
    owner, shift = np.arange(len(coord)), np.zeros((len(coord), 3), np.int64)
    for axis in range(3):
        steps = np.arange(-int(np.ceil(reach[axis])) - 1, int(np.ceil(reach[axis])) + 2)
        place = fraction[owner, axis][:, None] + steps
        which, step = np.nonzero((place > -reach[axis] - 1e-9) & (place < 1 + reach[axis] + 1e-9))
        owner, shift = owner[which], shift[which]
        shift[:, axis] = steps[step]
    atoms_first = np.argsort(
        shift.any(axis=1), kind="stable"
    )  # owners ascend, so the unshifted points are the atoms in order
    return wrapped, owner[atoms_first], shift[atoms_first]


def _near_pairs(points: np.ndarray, n_centre: int, rcut: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of one of the first ``n_centre`` points and any other point nearer than ``rcut``, with squared distances.

    Points are sorted into cubes; the cubes near a centre are rows along z, and each row is one run of the sorted points.
    """
    if not n_centre:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    low = points.min(axis=0)
    side = max(rcut / 2, (points.max(axis=0) - low).max() / 2**19)  # the numbers of all cubes fit into 64 bits
    around = int(np.ceil(rcut / side))
    cube = np.floor((points - low) / side).astype(np.int64) + around
    stride_x, stride_y = (cube.max(axis=0)[1:] + around + 1).prod(), cube[:, 2].max() + around + 1
    key = cube[:, 0] * stride_x + cube[:, 1] * stride_y + cube[:, 2]
    order = np.argsort(key, kind="stable")
    ordered, key = key[order], key[:n_centre]
    steps = np.arange(-around, around + 1)
    rows = (steps[:, None] * stride_x + steps * stride_y).ravel()
    first = np.searchsorted(ordered, key[:, None] + rows - around)
    number = np.searchsorted(ordered, key[:, None] + rows + around, side="right") - first
    edges_of = np.cumsum(number.sum(axis=1))
    cuts = np.searchsorted(edges_of, np.arange(PAIRS_AT_ONCE, edges_of[-1], PAIRS_AT_ONCE), side="right")
    bounds = np.unique(np.concatenate([[0], cuts, [n_centre]]))
    parts = [
        _pairs_of(points, order, slice(a, b), first[a:b], number[a:b], rcut) for a, b in zip(bounds[:-1], bounds[1:])
    ]
    return tuple(np.concatenate(arrays) for arrays in zip(*parts))


def _pairs_of(points, order, centres, first, number, rcut):
    """Pairs of a range of centres, whose candidates are runs ``first ... first + number`` of the points in ``order``."""
    own = np.repeat(np.arange(centres.start, centres.stop), number.sum(axis=1))
    run, length = first.ravel(), number.ravel()
    offset = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    other = order[np.repeat(run, length) + offset]
    disp = points[other] - points[own]
    square = np.einsum("ed,ed->e", disp, disp)
    near = (square < rcut * rcut) & (own != other)
    return own[near], other[near], square[near]


# --- neighbours found by the program ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Capacity:
    """Sizes of the program's own neighbour list, for each section; they only grow."""

    nbrs: tuple[int, ...] | None = None  # slots
    bin_atoms: tuple[int, ...] = ()  # atoms of one bin

    def holding(self, bin_atoms, nbrs) -> Capacity:
        """Enough for these, with some room where the old sizes do not do."""

        def larger(old, needed, unit):
            return tuple(have if n <= have else ladder(int(n * ROOM), unit) for have, n in zip(old, needed))

        return Capacity(larger(self.nbrs, nbrs, 4), larger(self.bin_atoms, bin_atoms, 1))


@dataclass(frozen=True)
class Division:
    """Bins of space, at least as wide as the cut-off where that fits into the cell."""

    pbc: np.ndarray  # (3,) bool
    grid: np.ndarray  # (3,) bins along each cell vector
    width: np.ndarray  # (3,) angstrom, in open directions
    offsets: np.ndarray  # (n_stencil, 3) from a bin to those that neighbours can be in

    @property
    def shape(self) -> tuple[int, int]:
        """Padded number of bins, and bins to look through."""
        return ladder(int(self.grid.prod())), len(self.offsets)

    def arrays(self) -> dict:
        """As the program takes them."""
        return {
            "pbc": self.pbc,
            "grid": self.grid.astype(np.int32),
            "width": self.width,
            "offsets": self.offsets.astype(np.int32),
            "bins": np.zeros(self.shape[0], np.int8),
        }


def divide(frame: Frame, rcut: float) -> Division:
    """Bins for a frame, not many more than it has atoms."""
    periodic, reach = frame.cell is not None, rcut * (1 + 1e-5)
    points = frame.points(frame.coord)
    size = _heights(frame.cell) if periodic else np.ptp(points, axis=0) if len(points) else np.zeros(3)
    grid = np.clip(np.floor(size / reach), 1, 2**10).astype(np.int64)
    while grid.prod() > max(64, 4 * len(points)):
        grid[grid.argmax()] = -(-grid.max() // 2)
    width = np.maximum(reach, size / grid)
    steps = np.ceil(reach * grid / size).astype(int) if periodic else np.ones(3, int)
    offsets = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in steps], indexing="ij"), axis=-1).reshape(-1, 3)
    return Division(np.full(3, periodic), grid, np.ones(3) if periodic else width, offsets)


def atoms_in_bins(frame: Frame, bins: Division, n_section: int) -> np.ndarray:
    """(n_section,) most atoms of each section in one bin, up to rounding at the borders of bins."""
    there = frame.point_section >= 0
    points, section = frame.points(frame.coord)[there], frame.point_section[there]
    if frame.cell is not None:
        place = np.floor(_wrapped(points, frame.cell)[1] * bins.grid)
    else:
        place = np.floor((points - points.min(axis=0, initial=0)) / bins.width)
    place = np.clip(place, 0, bins.grid - 1).astype(np.int64)
    flat = np.ravel_multi_index(place.T, bins.grid) + bins.grid.prod() * section
    return np.bincount(flat, minlength=n_section * bins.grid.prod()).reshape(n_section, -1).max(axis=1)


def _heights(cell: np.ndarray) -> np.ndarray:
    """(3,) distances between opposite faces of a cell, angstrom.

    Raises:
        ArtifactError: the cell has no volume.
    """
    volume = abs(np.linalg.det(cell)) if np.isfinite(cell).all() else 0.0
    if volume <= 1e-9 * np.prod(np.linalg.norm(cell, axis=1)):
        raise ArtifactError(
            f"the cell {cell.tolist()} has no volume; give three independent vectors, or None for open boundaries"
        )
    cofactors = np.stack([np.cross(cell[1], cell[2]), np.cross(cell[2], cell[0]), np.cross(cell[0], cell[1])])
    return volume / np.linalg.norm(cofactors, axis=1)


def vectors(cell: np.ndarray, spacing: float) -> list[np.ndarray]:
    """Integers of at least the reciprocal vectors that the sum over a cell has, in each direction; the program leaves others out.

    Args:
        cell: (3, 3) angstrom.
        spacing: of the grid in real space that as many vectors would make, angstrom.
    """
    # half of the number of grid points, which is raised to an even one; a device may round a length differently
    lengths = np.linalg.norm(cell, axis=1) / spacing * (1 + 1e-9)
    first, second, third = (ladder(int(np.ceil(np.ceil(length) / 2))) for length in lengths)
    ranges = np.arange(first + 1), np.arange(-second, second + 1), np.arange(third + 1)
    return [own.astype(np.int32) for own in ranges]


# --- padding ------------------------------------------------------------------------------------------------------------------


def ladder(n: int, unit: int = 1) -> int:
    """The smallest size that holds ``n``: multiples of ``unit``, above 8 units four to each doubling (10, 12, 14, 16, 20 ...)."""
    n = max(1, -(-n // unit))
    step = 1 << max(0, (n - 1).bit_length() - 3)
    return -(-n // step) * step * unit


def _neighbor_sizes(frames: list[Frame], manifest: dict) -> tuple[int, ...]:
    """Width of each neighbour section: from the ladder, at most ``sel``."""
    sel = np.where(_absent(manifest), 0, manifest["sel"])
    most = np.max([f.edges.count(f.point_section, len(sel)).max(axis=0, initial=0) for f in frames], axis=0)
    widths = [ladder(int(n), 8) for n in most]
    return tuple(width if keep is None else min(width, int(keep)) for width, keep in zip(widths, sel))


@dataclass(frozen=True)
class Sizes:
    """Padded sizes; one compiled program of each entry point serves all structures of equal sizes."""

    frames: int
    blocks: tuple[int, ...]  # for each section
    block: tuple[int, ...]  # atoms of each block
    nbrs: tuple[int, ...]

    @classmethod
    def choose(cls, groups: list[list[Frame]], nbrs: tuple[int, ...], manifest: dict, platform: str) -> Sizes:
        """Ladder sizes that hold every group of frames."""
        n = len(manifest["type_map"]) if _by_type(manifest) else 1
        most = np.max([sum(np.bincount(f.section, minlength=n) for f in group) for group in groups], axis=0)
        if manifest.get("messages", False):  # all atoms see one another
            chosen = [(1, ladder(int(n), 16)) for n in most]
        else:
            at_once = _cpu_block(manifest, sum(nbrs)) if platform == "cpu" else _large_block(manifest, sum(nbrs))
            chosen = [_blocks(int(n), at_once, platform) for n in most]
        return cls(ladder(len(groups[0])), tuple(c[0] for c in chosen), tuple(c[1] for c in chosen), nbrs)

    @property
    def places(self) -> np.ndarray:
        """(n_section,) places for atoms of each section."""
        return np.multiply(self.blocks, self.block)


def _cpu_block(manifest: dict, width: int) -> int:
    """Atoms with ``width`` neighbours that are worked on at once on a CPU, a power of 2."""
    kept = [min(width, sum(cut["sel"])) for cut in _cuts(manifest) if cut.get("angles", False)]
    pairs = sum(n * n for n in kept) // 2
    return min(CPU_BLOCK, 1 << (max(1, CPU_PAIRS // max(1, pairs)).bit_length() - 1))


def _large_block(manifest: dict, width: int) -> int:
    """The same on an accelerator, as many as its memory holds; a multiple of 16."""
    slots = width * (1 + width // PAIRS_PER_SLOT) if manifest.get("pairs", False) else width
    return max(16, SLOTS_PER_BLOCK // max(1, slots) // 16 * 16)


def _blocks(n_atom: int, at_once: int, platform: str) -> tuple[int, int]:
    """Number and size of the blocks that hold ``n_atom`` atoms, ``at_once`` in each or fewer."""
    if platform == "cpu":  # the number of places does not depend on the size of a block
        unit = CPU_BLOCK if n_atom > 16 else 16
        size = min(unit, at_once)
        return ladder(n_atom, unit) // size, size
    size = min(ladder(n_atom, 16), at_once)
    return ladder(-(-n_atom // size)), size


def pack(frames: list[Frame], sizes: Sizes, *, by_type: bool, messages: bool = False) -> tuple[dict, np.ndarray]:
    """Frames as the structure that programs take, and the place of every atom, frame after frame, on its atom axis."""
    listed, spins = frames[0].edges is not None, frames[0].spin is not None
    places = _places(np.concatenate([f.section for f in frames]), sizes)
    n_place = int(sizes.places.sum())
    rows = {
        "coord": np.zeros((n_place, 3)),
        "real": np.zeros(n_place, bool),
    }
    lists = _no_neighbors(2 * n_place if spins and messages else n_place, sizes)
    if listed:
        rows |= {"frame": np.zeros(n_place, np.int32)} | {name: array[:n_place] for name, array in lists.items()}
    cell = np.zeros((sizes.frames, 3, 3))
    rows["real"][places] = True
    if not by_type:
        rows["type"] = np.full(n_place, -1, np.int32)
        rows["type"][places] = np.concatenate([f.atype for f in frames])
    for name in ("aparam", "spin"):
        if getattr(frames[0], name) is not None:
            rows[name] = np.zeros((n_place, getattr(frames[0], name).shape[1]))
            rows[name][places] = np.concatenate([getattr(f, name) for f in frames])
    start = 0
    for i, frame in enumerate(frames):
        own = places[start : start + len(frame.atype)]
        start += len(own)
        rows["coord"][own] = frame.edges.coord[: len(own)] if listed else frame.coord
        if listed:
            rows["frame"][own] = i
            _fill_neighbors(lists, frame, np.concatenate([own, own + n_place]) if spins else own, sizes)
        if frame.cell is not None:
            cell[i] = frame.cell
    structure = {
        "atoms": _cut(rows, sizes),
        "slots": [np.zeros(size, np.int8) for size in sizes.nbrs],
        "cell": cell,
    }
    if listed and spins and messages:
        structure["partners"] = _cut({name: array[n_place:] for name, array in lists.items()}, sizes)
    if frames[0].first is not None:
        structure["first"] = np.zeros(sizes.frames, np.int32)
        structure["first"][: len(frames)] = [f.first for f in frames]
    for name in ("fparam", "charge_spin"):
        given = [getattr(f, name) for f in frames]
        if given[0] is not None:
            structure[name] = np.zeros((sizes.frames, len(given[0])))
            structure[name][: len(given)] = given
    return structure, places


def _no_neighbors(n_row: int, sizes: Sizes) -> dict[str, np.ndarray]:
    """Empty neighbour lists of so many atoms."""
    width = sum(sizes.nbrs)
    return {
        "index": np.zeros((n_row, width), np.int32),
        "shift": np.zeros((n_row, width, 3), np.int16),
        "count": np.zeros((n_row, len(sizes.nbrs)), np.int32),
    }


def _places(section: np.ndarray, sizes: Sizes) -> np.ndarray:
    """Place of each atom: section after section, within a section in the given order."""
    order = np.argsort(section, kind="stable")
    start = np.cumsum(sizes.places) - sizes.places
    places = np.empty(len(section), np.int64)
    places[order] = start[section[order]] + _rank(section[order])
    return places


def _fill_neighbors(lists: dict, frame: Frame, own: np.ndarray, sizes: Sizes) -> None:
    """Writes the neighbours of a frame, whose points are number ``own`` (n_point,) on the axis of all points, into its rows."""
    edges, section, n_section = frame.edges, frame.point_section, len(sizes.nbrs)
    start = np.cumsum(sizes.nbrs) - sizes.nbrs
    slot = start[section[edges.index]] + _rank(edges.group(section, n_section))
    lists["index"][own[edges.centre], slot] = own[edges.index]
    lists["shift"][own[edges.centre], slot] = edges.shift
    counted = own < len(lists["count"])
    lists["count"][own[counted]] = edges.count(section, n_section)[counted]


def number_atoms(structure: dict, frames: list[Frame], places: np.ndarray) -> None:
    """Adds what the program for Hessians takes: the number of each atom in its frame, and how many there can be."""
    own = np.concatenate([np.arange(len(f.atype)) for f in frames])
    shapes = [atoms["real"].shape for atoms in structure["atoms"]]
    bounds = np.cumsum([0, *(a * b for a, b in shapes)])
    number = np.full(bounds[-1], -1, np.int32)
    number[places] = own
    for atoms, shape, start in zip(structure["atoms"], shapes, bounds):
        atoms["number"] = number[start : start + shape[0] * shape[1]].reshape(shape)
    structure["columns"] = np.zeros(ladder(int(own.max(initial=0)) + 1, 4), np.int8)


def square_of(rows: np.ndarray, real: np.ndarray) -> np.ndarray:
    """(3 n_given, 3 n_given) second derivatives of a frame, zero for placeholders, from the rows of its atoms (n, 9 * columns)."""
    n, n_given = len(rows), len(real)
    own = rows.reshape(n, 3, -1, 3)[:, :, :n]
    square = np.zeros((n_given, 3, n_given, 3))
    at = np.flatnonzero(real)
    square[at[:, None, None], np.arange(3)[:, None], at] = own
    return square.reshape(3 * n_given, 3 * n_given)


def _cut(rows: dict, sizes: Sizes) -> list[dict]:
    """Rows of all places as one dictionary for each section, arrays (blocks, block, ...)."""
    out, start = [], 0
    for blocks, block in zip(sizes.blocks, sizes.block):
        take = slice(start, start + blocks * block)
        out.append({name: array[take].reshape(blocks, block, *array.shape[1:]) for name, array in rows.items()})
        start = take.stop
    return out
