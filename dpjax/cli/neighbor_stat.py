"""``dpjax neighbor-stat``: the closest pair and the largest number of neighbours in data, to choose ``rcut`` and ``sel``."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "-s",
        "--system",
        nargs="+",
        default=["."],
        metavar="DIR",
        help="systems, or folders that hold systems (default: .)",
    )
    parser.add_argument("-r", "--rcut", type=float, required=True, help="cut-off radius in angstrom")
    parser.add_argument("-t", "--type-map", nargs="+", metavar="NAME", help="type names; default: those of the data")
    parser.add_argument(
        "--mixed-type",
        "--one-type",
        action="store_true",
        help="count all types together, for descriptors of mixed types",
    )


def run(args: argparse.Namespace) -> None:
    """Counts and prints."""
    from dpjax.data import find_systems, open_systems
    from dpjax.neighbors.stat import neighbor_stat, suggest_sel

    paths = [path for entry in args.system for path in find_systems(entry)]
    type_map = args.type_map or _names(paths)
    systems = [system for path in paths for system in open_systems(path, type_map, (), str(path))]
    stat = neighbor_stat(systems, args.rcut, type_map, mixed_type=args.mixed_type)
    print(f"systems: {len(systems)}, frames: {sum(s.n_frame for s in systems)}, cut-off: {args.rcut:g} angstrom")
    print(f"min_nbor_dist: {stat.min_nbor_dist:.6f}")
    print(f"max_nbor_size: {list(stat.max_nbor_size)}")
    print(f'suggested sel: {list(suggest_sel(stat))}  (10 % more, rounded up to a multiple of 4, as "auto")')


def _names(paths: list) -> list[str]:
    """Type names of the data, in the order in which they first appear."""
    from dpjax.data import open_readers
    from dpjax.errors import DataError

    names: dict[str, None] = {}
    for path in paths:
        for _, reader in open_readers(path):
            if reader.type_names is None:
                raise DataError(
                    f"{reader.names_file} is missing, so the types of {path} have no names; give them with --type-map"
                )
            names.update(dict.fromkeys(reader.type_names))
    return list(names)
