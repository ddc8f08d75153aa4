"""Options of the ``dpa4`` descriptor that came with DeePMD-kit 3.2."""

from __future__ import annotations

from dpjax.config.schema import Option

READOUTS = ("none", "glu", "mlp")


def newer_options() -> list[Option]:
    """What DeePMD-kit 3.2 added."""
    return [
        _newer(
            "edge_norm",
            bool,
            "Normalise the hidden layers of the radial net and other features of edges; true if absent. false makes energies "
            "smoother where a neighbour leaves the cut-off.",
            True,
            "the form without edge_norm",
        ),
        _newer(
            "edge_cartesian",
            bool,
            "Work out messages of degree 1 and 2 as products of Cartesian tensors, without frames of edges; false if absent.",
            False,
            "the Cartesian product on edges",
        ),
        _newer(
            "node_cartesian",
            [str, int],
            "Multiply the sum of messages of degree 1 and 2 with the state as Cartesian tensors: `none` if absent, or "
            "`default:n` or `parity:n` with n layers; a number n is `default:n`.",
            "none",
            "the Cartesian product on atoms",
        ),
        _newer(
            "kmax",
            int,
            "Highest order of the frames of grids on the rotation group; 1 if absent, at most lmax.",
            1,
            "a grid on the rotation group",
            used_with="ffn_so3_grid",  # or any other option that makes such a grid, which is refused itself
        ),
        _newer(
            "extra_node_l",
            int,
            "How many degrees the state has above those of the messages; 0 if absent.",
            0,
            "a state of higher degree than its messages",
        ),
        *_grid_options(),
    ]


def _grid_options() -> list[Option]:
    place = {"node_wise": "of the two atoms of an edge", "message_node": "of the sum of messages and the state"}
    product = "Add a product {} at points of {}; false if absent."
    return [
        _newer(
            "grid_branch",
            [int, list[int]],
            "Number of products that scalars weigh on each grid, or a list of three: node-wise, message with node, "
            "feed-forward. 0, if absent, has none.",
            0,
            "a grid with several products",
        ),
        _newer(
            "ffn_so3_grid",
            bool,
            "Use a grid on the rotation group in the feed-forward nets of the blocks, instead of a sphere; false if absent.",
            False,
            "the feed-forward net on the rotation group",
        ),
        *(
            _newer(
                f"{where}_{group}",
                bool,
                product.format(of, "a sphere" if group == "s2" else "the rotation group"),
                False,
                f"the product that {where}_{group} adds",
            )
            for where, of in place.items()
            for group in ("s2", "so3")
        ),
        _newer(
            "so3_readout",
            str,
            "What is read at the end: `none`, if absent, takes the scalars; `glu` and `mlp` fold higher degrees into them on a "
            "grid on the rotation group.",
            "none",
            "the read-out on the rotation group",
        ),
        _newer("readout_layers", int, "Number of nets of the read-out, 1 if absent.", 1, "a read-out of several nets"),
    ]


def _newer(name: str, dtype: object, doc: str, neutral: object, not_built: str, **rest: str) -> Option:
    return Option(name, dtype, doc, newer=True, neutral=neutral, not_built=not_built, **rest)
