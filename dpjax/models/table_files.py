"""The files of pair tables that a model names, read into the variables of a new one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from dpjax.config.models import MadeOfParts, PairTableConfig
from dpjax.descriptors import cutoff
from dpjax.formats.pair_table import read_pair_table
from dpjax.models.linear import part_name
from dpjax.models.pair_table import NAME, table_stats


class TableFile(NamedTuple):
    """A pair table that a model names."""

    place: tuple[str, ...]  # in the collection ``stats``
    file: str
    rcut: float  # angstrom
    type_map: tuple[str, ...]
    option: str  # path in the input


def table_files(config: Any, place: tuple[str, ...] = (), path: str = "model") -> Iterator[TableFile]:
    """The tables of a model and of its parts."""
    if isinstance(config, MadeOfParts):
        for i, (own, part) in enumerate(zip(config.places, config.parts, strict=True)):
            yield from table_files(part, (*place, part_name(i)), f"{path}/{own}")
    elif isinstance(config, PairTableConfig):
        yield TableFile((*place, NAME), config.tab_file, config.rcut, config.type_map, f"{path}/tab_file")
    elif config.use_srtab is not None:
        yield TableFile(
            (*place, NAME), config.use_srtab, cutoff(config.descriptor), config.type_map, f"{path}/use_srtab"
        )


def with_tables(config: Any, variables: dict) -> dict:
    """Fresh variables with the pair tables that the model names.

    Raises:
        DataError: a file is missing or malformed.
    """
    stats = variables["stats"]
    for table in table_files(config):
        found = read_pair_table(table.file, table.rcut, table.type_map, table.option)
        stats = _replaced(stats, table.place, table_stats(found))
    return variables | {"stats": stats}


def _replaced(tree: dict, place: tuple[str, ...], value: Any) -> dict:
    """The tree with another value at a place."""
    head, *rest = place
    return tree | {head: _replaced(tree[head], tuple(rest), value) if rest else value}
