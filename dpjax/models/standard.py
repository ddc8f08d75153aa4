"""The ``standard`` model: a descriptor and a fitting that turn an atom's neighbours into its energy, dipole, or another quantity.

The model is evaluated for a block of atoms at a time (:meth:`StandardModel.atomic_output`), of one type where descriptor and
fitting have networks per type; ``models.derivatives`` runs it over the sections of a batch, block by block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dpjax.batching.batch import Array, Batch, Disturbance, Layout
from dpjax.config import ModelConfig
from dpjax.config.fittings import AtomicOutput
from dpjax.descriptors import (
    Neighborhood,
    build_descriptor,
    capacity,
    cutoff,
    is_by_type,
    is_mixed,
    kept,
    passes_messages,
    sees_parameters,
)
from dpjax.descriptors.expansion import Expansion
from dpjax.descriptors.nearest import nearest_neighbors
from dpjax.descriptors.type_vectors import TypeVectors
from dpjax.fittings import build_direct_forces, build_fitting, of_type
from dpjax.geometry.displacements import displacements
from dpjax.models.derived import require_derived
from dpjax.models.fragments import FrameFragments, fragment_rows, fragments_of_frames
from dpjax.models.geometry import Geometry
from dpjax.models.short_range import build_table, table_share
from dpjax.models.spins import point_positions
from dpjax.nn.blocks import AS_SUITS, Work
from dpjax.nn.bridging import faded, protons, screened_repulsion
from dpjax.nn.chebyshev import Grid
from dpjax.nn.precision import require_x64, with_all_digits
from dpjax.nn.type_embedding import ModelTypeEmbedding

Rows = dict[str, jax.Array]  # per atom
FEATURES = ("descriptor", "fitting_last_layer")
VIEW = (
    "count",
    "types",
    "kinds",
    "empty_kinds",
    "index",
    "condition",
    "near",
    "lists",
    "copies",
    "mask",
    "mask_nbrs",
    "fragment",
    "fragment_nbrs",
    "n_fragment",
)  # of the rows what a descriptor is handed


class StandardModel(nn.Module):
    """Atomic energies, or what else the fitting predicts, from neighbours.

    Collections: ``params`` (trained) and ``stats`` (davg, dstd, biases, input normalisation; fixed while training).

    Raises:
        ModelError: on any use, if a network is float64 and JAX's 64-bit types are off.
    """

    config: ModelConfig
    # fitting layers of other models that this one uses, by network and number
    lent: dict[str, dict[str, nn.Module]] | None = None

    def setup(self):
        vectors = None
        if self.config.type_embedding is not None:
            vectors = self.type_embedding = ModelTypeEmbedding(self.config.type_embedding, self.config.type_map)
        self.descriptor = build_descriptor(self.config, vectors)
        self.fitting_net = build_fitting(self.config, self.descriptor, vectors, self.lent)
        require_x64(self.descriptor.dtype, self.fitting_net.dtype)  # JAX alone would only warn and compute in float32
        self.add_output_statistics()
        if self.config.use_srtab is not None:
            self.pair_table = build_table(self.config)
            self.table_bias = self.variable("stats", "table_bias", jnp.zeros, (self.n_type, 1), jnp.float64)
        if self.config.direct_forces:
            self.dens_fitting_net = build_direct_forces(self.config)
            self.dens_force_rmsd = self.variable("stats", "dens_force_rmsd", jnp.ones, (), jnp.float64)

    def add_output_statistics(self) -> None:
        """Create ``out_bias`` and ``out_std`` (n_type, output.size); for ``setup``."""
        shape = (self.n_type, self.output.size)
        self.out_bias = self.variable("stats", "out_bias", jnp.zeros, shape, jnp.float64)
        self.out_std = self.variable("stats", "out_std", jnp.ones, shape, jnp.float64)

    @property
    def n_type(self) -> int:
        return len(self.config.type_map)

    @property
    def output(self) -> AtomicOutput:
        """What the model predicts."""
        return self.config.fitting_net.output

    @property
    def rcut(self) -> float:
        """Cut-off of the neighbour table the model needs, angstrom."""
        return cutoff(self.config.descriptor)

    @property
    def sel(self) -> tuple[int | None, ...]:
        """Neighbours of each section that count; None where no one number says it."""
        return capacity(self.config.descriptor, self.n_type)

    @property
    def by_type(self) -> bool:
        """Whether there are networks per type, so that atoms and neighbours come in sections by type."""
        return is_by_type(self.config.descriptor)

    @property
    def passes_messages(self) -> bool:
        """Whether an atom's values depend on more than its own neighbours, so that a block is all atoms of a batch."""
        return passes_messages(self.config.descriptor)

    @property
    def sees_parameters(self) -> bool:
        """Whether an atom's values depend on atomic parameters of its neighbours."""
        return sees_parameters(self.config.descriptor)

    @property
    def tabulated(self) -> bool:
        """Whether tables stand for the embedding networks: the model is compressed."""
        return self.config.compress is not None

    @property
    def n_section(self) -> int:
        """Sections of the atom and neighbour axes: one for each type where networks are per type, else one."""
        return self.n_type if self.by_type else 1

    @property
    def n_atom_section(self) -> int:
        """Sections of atoms that are not virtual; virtual ones of spins have sections of their own where networks are per type."""
        return len(self.config.data_types) if self.by_type else 1

    @property
    def takes_spins(self) -> bool:
        """Whether atoms have spins, for which virtual atoms stand."""
        return bool(self.config.virtual_scale)

    @property
    def takes_first(self) -> bool:
        """Whether empty places get the vector of the type of their frame's first atom, as DeePMD-kit has it.

        Its TensorFlow backend, which alone has type vectors of the model, gives them that of padding.
        """
        own_vectors = is_mixed(self.config.descriptor) and self.config.type_embedding is None
        return own_vectors and self.config.conventions == "reference"

    @property
    def takes_charge_spin(self) -> bool:
        """Whether atoms are told charge and spin of their frame."""
        return "charge_spin" in self.config.inputs

    @property
    def takes_mask(self) -> bool:
        """Whether the atomic parameter says which atoms are real and which virtual, and every atom sees all of its frame."""
        return self.config.takes_mask

    @property
    def takes_fragments(self) -> bool:
        """Whether the atomic parameter numbers the fragments of a frame, which see each other in pairs only."""
        return self.config.takes_fragments

    @property
    def leaves_virials(self) -> bool:
        """Whether virials are zero, as DeePMD-kit has them for frames without cells and cut-off."""
        return self.takes_mask and self.config.conventions == "reference"

    def atomic_output(
        self,
        view: Neighborhood,
        fparam: jax.Array | None = None,
        aparam: jax.Array | None = None,
        expansion: Expansion | None = None,
    ) -> jax.Array:
        """Energies, or what else is predicted, of a block of atoms, statistics of the data included.

        Args:
            view: the atoms and their neighbours.
            fparam, aparam: (n_atom, n) or None.
            expansion: of the embedding networks, from :meth:`expand`; None: the networks themselves.

        Returns:
            (n_atom, *output.shape), in the dtype of ``view.disp``; zero for types that are excluded.

        Raises:
            ModelError: the model gives forces directly; see :meth:`direct_output`.
        """
        require_derived(self.config, "the energy as a function that has derivatives")
        dtype, silent = view.disp.dtype, self.config.silent_types
        if view.centre in silent:
            return jnp.zeros((view.n_atom, *self.output.shape), dtype)
        features = self.descriptor(view, expansion)
        values = self.fitting_net(view, features, fparam, aparam).astype(dtype)
        values = self.fitting_net.shifted(values, view, self.out_bias.value, self.out_std.value)
        if self.config.use_srtab is not None:
            values = self.taken_over(view, values)
        if view.centre is None and silent:
            values = where_rows(contributes(self.config, view.types), values)
        return values if self.config.bridge is None else values + self.repulsion(view)

    def direct_output(
        self,
        view: Neighborhood,
        fparam: jax.Array | None = None,
        aparam: jax.Array | None = None,
        disturbance: Disturbance | None = None,
    ) -> dict[str, jax.Array]:
        """What a model says that gives its forces directly, statistics of the data included.

        Args:
            view: all atoms of a batch and their neighbours.
            fparam, aparam: (n_atom, n) or None.
            disturbance: of these atoms; None: they are where the structure has them.

        Returns:
            In the dtype of ``view.disp``, zero for types that are excluded: ``atom_energy`` (n_atom,) eV, ``force`` (n_atom, 3)
            eV/angstrom, and ``denoising_force_norm`` (n_atom, 3), displacements over their standard deviation.
        """
        heads, dtype = self.dens_fitting_net, view.disp.dtype
        added = None if disturbance is None else heads.embedded(disturbance.force, disturbance.mask)
        found = heads(view, *self.descriptor.with_state(view, added), fparam, aparam)
        bias = of_type(heads.energy_head.bias_atom_e.value[:, 0], view)
        scale, shift = (of_type(own.value[:, 0], view) for own in (self.out_std, self.out_bias))
        out = {
            "atom_energy": (found.energy.astype(dtype) + bias) * scale + shift,
            "force": found.force.astype(dtype) * self.dens_force_rmsd.value,
            "denoising_force_norm": found.displacement.astype(dtype),
        }
        return {name: where_rows(contributes(self.config, view.types), values) for name, values in out.items()}

    def repulsion(self, view: Neighborhood) -> jax.Array:
        """(n_atom,) eV, half of the screened repulsion of nuclei of each pair of neighbours, whatever options exclude.

        The reference cuts it off at ``rcut``, where it is not zero yet; corrected, it fades from half of that on.
        """
        descriptor = self.config.descriptor
        near = nearest_neighbors(view, kept(descriptor)[0], descriptor.rcut)
        charges = jnp.asarray(protons(self.config.type_map), view.disp.dtype)
        here, there = charges[jnp.maximum(view.types, 0)], charges[jnp.maximum(near.types, 0)]
        square = jnp.where(near.mask, jnp.sum(near.disp * near.disp, axis=-1), 1.0)
        distance = jnp.sqrt(square)
        pairs = screened_repulsion(distance, here[:, None], there)
        if self.config.conventions == "corrected":
            pairs = pairs * faded(distance, max(self.config.bridge[1], descriptor.rcut / 2.0), descriptor.rcut)
        return 0.5 * jnp.sum(jnp.where(near.mask, pairs, 0.0), axis=1)

    def taken_over(self, view: Neighborhood, values: jax.Array) -> jax.Array:
        """(n_atom,) eV, atomic energies of the networks where all neighbours are far, and of the pair table where one is near.

        The table gets the bias of the data where the input says so (``srtab_add_bias``), and one of its own that files may bring.
        """
        bias = self.table_bias.value + (self.out_bias.value if self.config.srtab_add_bias else 0.0)
        tabulated = self.pair_table(view) + of_type(bias[:, 0], view)
        share = table_share(self.pair_table, self.config, view)
        return share * tabulated.astype(values.dtype) + (1.0 - share) * values

    def atomic_features(
        self,
        view: Neighborhood,
        fparam: jax.Array | None = None,
        aparam: jax.Array | None = None,
        expansion: Expansion | None = None,
        *,
        names: Sequence[str] = FEATURES,
    ) -> dict[str, jax.Array]:
        """What the model knows of a block of atoms before it predicts; also of types that are excluded from the prediction.

        Args:
            view, fparam, aparam, expansion: as for :meth:`atomic_output`; without ``fitting_last_layer`` no parameters are needed.
            names: any of :data:`FEATURES`.

        Returns:
            ``descriptor`` (n_atom, descriptor.dim_out), in the dtype of ``view.disp``; ``fitting_last_layer`` (n_atom, neuron[-1]),
            what the last layer of the fitting network is given, in the precision of that network.
        """
        features = self.descriptor(view, expansion)
        out = {}
        if "descriptor" in names:
            out["descriptor"] = features.values.astype(view.disp.dtype)
        if "fitting_last_layer" in names:
            fitting = self.dens_fitting_net.energy_head if self.config.direct_forces else self.fitting_net
            out["fitting_last_layer"] = fitting.last_layer_inputs(view, features, fparam, aparam)
        return out

    def type_vectors(self) -> tuple[jax.Array, ...]:
        """(n_type + 1, dim) of the model, or of each descriptor that has its own; the last row is that of padding."""
        if self.config.type_embedding is not None:
            return (self.type_embedding(),)
        parts = getattr(self.descriptor, "members", (self.descriptor,))
        return tuple(part.type_embedding() for part in parts if isinstance(part, TypeVectors))

    def grids(self, layout: Layout) -> tuple[Grid, ...]:
        """Resolutions, coarse to fine, at which series for the embedding networks are faster for batches of this layout."""
        return self.descriptor.grids(layout.n_atom, layout.nbrs)

    def expand(self, nearest: jax.Array, grid: Grid) -> Expansion:
        """The embedding networks as series, for atoms no nearer to each other than ``nearest`` (), angstrom."""
        return self.descriptor.expand(nearest, grid)

    def init_parameters(self) -> None:
        """Touch every parameter and statistic once; the method to call ``init`` with."""
        if self.config.type_embedding is not None:
            self.type_embedding.init_parameters()
        self.descriptor.init_parameters()
        self.fitting_net.init_parameters()
        if self.config.direct_forces:
            self.dens_fitting_net.init_parameters()

    @with_all_digits
    def __call__(self, geometry: Geometry, batch: Batch) -> dict[str, jax.Array]:
        """Values of all atoms of a batch (n_atom, *output.shape) under their name; zero on padding and excluded types.

        Raises:
            ModelError: the model gives forces directly; ``predict`` says what it predicts.
        """
        layout = batch.layout
        parts = []
        for t, (start, size) in enumerate(zip(layout.atom_start, layout.atoms, strict=False)):
            if size:
                take = slice(start, start + size)
                view = neighborhood(
                    self, t, geometry.disp[take], atom_rows(self, batch, take), layout.nbrs, inner=layout.inner
                )
                parts.append(self.atomic_output(view, *extra_rows(batch, take)))
        return {self.output.atomic: where_rows(batch.atype >= 0, jnp.concatenate(parts))}


def contributes(config: ModelConfig, types: jax.Array) -> jax.Array:
    """Which atoms of these types, -1 for padding, have a part in the prediction; bool, shaped like ``types``."""
    return (types >= 0) & ~jnp.isin(types, jnp.array(config.silent_types, types.dtype))


def where_rows(keep: jax.Array, values: jax.Array) -> jax.Array:
    """``values`` (n, ...) where ``keep`` (n,), else zero."""
    return jnp.where(keep.reshape(-1, *(1,) * (values.ndim - 1)), values, 0.0)


def atom_rows(model: StandardModel, batch: Batch, take: slice) -> Rows:
    """What a slice of the atom axis needs beside displacements: :func:`table_rows` of a batch."""
    own = {name: getattr(batch, name)[take] for name in ("atype", "frame", "index", "count")}
    own |= {} if batch.aparam is None else {"aparam": batch.aparam[take]}
    fragments = None
    if model.takes_fragments:
        fragments = fragments_of_frames(batch.aparam, batch.frame, batch.atype >= 0, batch.layout.frames)
    rows = table_rows(model, own, batch.atype, batch.first, batch.charge_spin, batch.aparam, fragments)
    whole = {"lists": batch.lists, "copies": batch.copies}
    return rows | {name: value for name, value in whole.items() if value is not None}


def table_rows(
    model: StandardModel,
    own: Mapping[str, Array],
    atype: Array | None,
    first: Array | None,
    charge_spin: Array | None,
    aparam: Array | None = None,
    fragments: FrameFragments | None = None,
) -> Rows:
    """What atoms need beside displacements: counts, types where sections do not say them, what descriptors know of a frame.

    Args:
        model: the model.
        own: of these atoms ``frame`` and ``count`` (n, ...), and ``atype`` and ``index`` where sections do not say the types;
            ``index`` and ``aparam`` where these say which atoms are real, or number fragments.
        atype: (n_atom,) of all atoms, which ``index`` counts; None where sections say the types.
        first: (n_frame,) type of each frame's first atom; None for models that do not take it.
        charge_spin: (n_frame, 2) charge and spin; None for models that do not take them.
        aparam: (n_atom, n) atomic parameters of all atoms, for models whose neighbours are told them or whose atoms it says to be
            real or virtual, or to belong to a fragment; None for others.
        fragments: of the frames, for models whose atomic parameter numbers them; None for others.
    """
    rows = {"count": own["count"]}
    if not model.by_type:
        rows |= {"types": jnp.asarray(own["atype"]), "kinds": jnp.asarray(atype)[own["index"]]}
    if model.passes_messages:
        rows["index"] = jnp.asarray(own["index"])
    if model.takes_first:
        rows["empty_kinds"] = jnp.asarray(first)[own["frame"]]
    if model.sees_parameters:
        rows["near"] = jnp.asarray(aparam)[own["index"]]
    if model.takes_charge_spin:
        rows["condition"] = jnp.asarray(charge_spin)[own["frame"]]
    if model.takes_mask:
        rows["mask"] = is_real(own["aparam"])
        rows["mask_nbrs"] = is_real(aparam)[own["index"]]
    if fragments is not None:
        rows |= fragment_rows(fragments, own["frame"], own["aparam"], jnp.asarray(aparam)[own["index"]])
    return rows


def is_real(aparam: Array) -> jax.Array:
    """(n,) bool: which atoms are real, of (n, 1) atomic parameters: 1, or 0 for virtual ones; digits behind the point are cut."""
    return jnp.asarray(aparam)[:, 0] >= 1.0


def neighborhood(
    model: StandardModel,
    section: int,
    disp: jax.Array,
    rows: Mapping[str, Any],
    nbrs: Sequence[int],
    work: Work = AS_SUITS,
    inner: tuple[tuple[float, int], ...] = (),
) -> Neighborhood:
    """The view of atoms of one section.

    Args:
        model: the model.
        section: which.
        disp: (n, sum(nbrs), 3) angstrom, neighbour minus centre.
        rows: as :func:`table_rows` gives them, and others that are not for the view.
        nbrs, inner: of a :class:`~dpjax.batching.Layout`.
        work: how it is divided.
    """
    own = {name: rows[name] for name in VIEW if name in rows}
    centre = section if model.by_type else None
    return Neighborhood(disp, nbrs=tuple(nbrs), centre=centre, work=work, inner=inner, **own)


def extra_rows(batch: Batch, take: slice) -> tuple[jax.Array | None, jax.Array | None]:
    """Frame and atomic parameters of a slice of the atom axis, one row per atom."""
    fparam = None if batch.fparam is None else jnp.asarray(batch.fparam)[batch.frame[take]]
    aparam = None if batch.aparam is None else batch.aparam[take]
    return fparam, aparam


def batch_geometry(batch: Batch) -> Geometry:
    """The :class:`Geometry` of a batch: displacements of every neighbour slot, of and to virtual atoms, too."""
    return Geometry(disp=displacements(point_positions(batch), batch.cell, batch.frame, batch.index, batch.shift))
