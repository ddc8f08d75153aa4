"""Options of ``repflow``, the layers of ``dpa3``.

The layers keep a vector for each node (an atom), each edge (an atom and a neighbour) and each angle (an atom and two
neighbours), and pass messages between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config import options
from dpjax.config.checks import check_at_least, check_cutoff, check_positive, check_sel_in_all
from dpjax.config.descriptors.dpa3_compression import check_compression, compression_options
from dpjax.config.descriptors.layers import check_axis_within, check_update, update_options
from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Component, Context, Option
from dpjax.config.suggestions import join, show


@dataclass(frozen=True, kw_only=True)
class RepflowConfig:
    """Hyper-parameters of ``repflow``; lengths in angstrom, ``e_`` for edges and ``a_`` for angles."""

    n_dim: int = 128
    e_dim: int = 64
    a_dim: int = 64
    nlayers: int = 6
    e_rcut: float
    e_rcut_smth: float
    e_sel: int | str  # of all types together, or "auto[:factor]" until data has been counted
    a_rcut: float
    a_rcut_smth: float
    a_sel: int | str
    a_compress_rate: int = 0
    a_compress_e_rate: int = 1
    a_compress_use_split: bool = False
    n_multi_edge_message: int = 1
    axis_neuron: int = 4
    fix_stat_std: float = 0.3
    skip_stat: bool = False
    update_angle: bool = True
    update_style: str = "res_residual"
    update_residual: float = 0.1
    update_residual_init: str = "const"
    optim_update: bool = True
    smooth_edge_update: bool = False
    edge_init_use_dist: bool = False
    use_exp_switch: bool = False
    use_dynamic_sel: bool = False
    sel_reduce_factor: float = 10.0
    sequential_update: bool = False


def _options() -> list[Option]:
    return [
        Option("n_dim", int, "Length of the vector of a node, and so of the descriptor and of the type vectors.", 128),
        Option("e_dim", int, "Length of the vector of an edge.", 64),
        Option("a_dim", int, "Length of the vector of an angle.", 64),
        Option("nlayers", int, "How many layers follow one another.", 6),
        *_neighbor_options(),
        *compression_options(),
        Option(
            "n_multi_edge_message",
            int,
            "How many separate messages a node gathers from its edges in each layer.",
            1,
        ),
        Option(
            "axis_neuron",
            int,
            "How many columns form the second factor of the products that give smooth invariants; at most e_dim and n_dim.",
            4,
        ),
        *_statistics_options(),
        Option("update_angle", bool, "Whether there are angles at all. false: nodes and edges only.", True),
        *update_options("res_residual", 0.1, "const"),
        *_variant_options(),
    ]


def _neighbor_options() -> list[Option]:
    return [
        Option("e_rcut", float, "Cut-off radius in angstrom of the edges, and so of the descriptor.", REQUIRED),
        Option(
            "e_rcut_smth",
            float,
            "Distance in angstrom from which the weight of an edge is switched smoothly to zero at e_rcut.",
            REQUIRED,
        ),
        options.nsel("e_sel", "e_rcut"),
        Option(
            "a_rcut",
            float,
            "Cut-off radius in angstrom within which neighbours form angles; at most e_rcut.",
            REQUIRED,
        ),
        Option(
            "a_rcut_smth",
            float,
            "Distance in angstrom from which a neighbour's weight in the angles is switched smoothly to zero at a_rcut.",
            REQUIRED,
        ),
        options.nsel("a_sel", "a_rcut"),
    ]


def _statistics_options() -> list[Option]:
    return [
        Option(
            "fix_stat_std",
            float,
            "Number by which the smoothed 1/r and the directions are divided; 0 takes their standard deviation in the training "
            "data instead.",
            0.3,
        ),
        Option(
            "skip_stat",
            bool,
            "Old way to ask for fix_stat_std 0.3: true puts that number in the place of fix_stat_std.",
            False,
        ),
    ]


def _variant_options() -> list[Option]:
    return [
        Option(
            "optim_update",
            bool,
            "Multiply nodes, edges and angles by their parts of a weight matrix before they are joined, which saves memory.",
            True,
            no_effect="both ways give the same numbers, and the faster one is taken",
        ),
        Option(
            "smooth_edge_update",
            bool,
            "An edge beyond a_rcut gets nothing from the angles, so that nothing jumps there. false: it gets its own vector in "
            "their place.",
            False,
        ),
        Option(
            "edge_init_use_dist",
            bool,
            "Start the edges from the distance itself, without an activation function, instead of from the smoothed 1/r.",
            False,
            alias=["edge_use_dist"],
        ),
        Option(
            "use_exp_switch",
            bool,
            "Switch the weights off as exp(-exp(20 * (r / rcut_smth - 1))) instead of as a polynomial. Choose rcut_smth such "
            "that little is left at the cut-off: 5.3 for 6 angstrom, 3.5 for 4 angstrom.",
            False,
            alias=["use_env_envelope"],
        ),
        Option(
            "use_dynamic_sel",
            bool,
            "Work on the neighbours that there are instead of on lists filled up to e_sel and a_sel, which may then be generous. "
            "Needs smooth_edge_update.",
            False,
        ),
        Option(
            "sel_reduce_factor",
            float,
            "With use_dynamic_sel, sums over neighbours are normalised with e_sel and a_sel divided by this number.",
            10.0,
        ),
        Option(
            "sequential_update",
            bool,
            "Within a layer, update edges, angles, edges from angles and nodes one after another, each from the newest values. "
            "false: all from the values before the layer. Needs update_style `res_residual` and update_angle.",
            False,
        ),
    ]


def _check(cfg: RepflowConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_at_least(cfg, 1, ["n_dim", "e_dim", "a_dim", "nlayers", "n_multi_edge_message"], path)
    yield from check_at_least(cfg, 0, ["fix_stat_std"], path)
    yield from check_positive(cfg, ["sel_reduce_factor"], path)
    yield from _check_neighbors(cfg, path)
    widths = {"e_dim": cfg.e_dim, "n_dim": cfg.n_dim}
    yield from check_axis_within(cfg.axis_neuron, widths, join(path, "axis_neuron"))
    yield from check_update(cfg, path)
    yield from check_compression(cfg, path)
    if cfg.use_dynamic_sel and not cfg.smooth_edge_update:
        text = "found true, which works only with smooth_edge_update. Set that to true as well."
        yield Problem(join(path, "use_dynamic_sel"), text)
    if cfg.sequential_update and cfg.update_style != "res_residual":
        text = f"found true with update_style {show(cfg.update_style)}; it works only with res_residual."
        yield Problem(join(path, "sequential_update"), text)
    if cfg.sequential_update and not cfg.update_angle:
        yield Problem(join(path, "sequential_update"), "found true, which works only with update_angle.")


def _check_neighbors(cfg: RepflowConfig, path: str) -> Iterator[Problem]:
    yield from check_cutoff(cfg.e_rcut, cfg.e_rcut_smth, path, "e_")
    yield from check_cutoff(cfg.a_rcut, cfg.a_rcut_smth, path, "a_")
    yield from check_sel_in_all(cfg.e_sel, (), join(path, "e_sel"))
    yield from check_sel_in_all(cfg.a_sel, (), join(path, "a_sel"))
    if cfg.a_rcut > cfg.e_rcut:
        text = f"found {cfg.a_rcut}, but e_rcut is {cfg.e_rcut}; angles are made of edges, so it must not be larger."
        yield Problem(join(path, "a_rcut"), text)
    if not isinstance(cfg.a_sel, str) and not isinstance(cfg.e_sel, str) and cfg.a_sel > cfg.e_sel:
        text = f"found {cfg.a_sel}, but e_sel is {cfg.e_sel}; angles are made of edges, so it must not be larger."
        yield Problem(join(path, "a_sel"), text)
    for key in ("e_rcut_smth", "a_rcut_smth") if cfg.use_exp_switch else ():
        if getattr(cfg, key) == 0:
            yield Problem(join(path, key), "found 0, which use_exp_switch divides by; it must be positive.")


REPFLOW = Component(
    "repflow",
    RepflowConfig,
    _options,
    _check,
    doc="Layers in which atoms, pairs of neighbours and angles exchange messages.",
)
