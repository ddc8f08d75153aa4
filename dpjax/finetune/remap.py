"""The variables of a pretrained model in the places that they have in another one.

What belongs to types moves with them: networks named after types, rows of tables and of statistics.  New types keep what they
have in a fresh model.  A model of the same options and other types then gives the same numbers for the types that both have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from dpjax.config import ModelConfig
from dpjax.descriptors import is_one_of, members
from dpjax.descriptors.dpa4.lora import is_adapter
from dpjax.errors import ConfigError
from dpjax.finetune.report import FRESH, PRETRAINED, REMAPPED, STATISTICS, Row
from dpjax.finetune.types import TypeChange

Tree = dict[str, Any]
Path = tuple[str, ...]

NETWORK = re.compile(r"(embedding|net)_(\d+)(?:_(\d+))?")  # networks of a type, or of a pair of types
PER_TYPE = (
    "davg",
    "dstd",
    "bias_atom_e",
    "constant_matrix",
    "out_bias",
    "out_std",
)  # statistics with a row for each type
TABLE = ("type_embedding", "layer", "matrix")
MODEL_TABLE = ("params", "type_embedding", "net", "layers_0", "matrix")  # of a model with type vectors of its own
BACKBONE = ("descriptor", "type_embedding")  # what a new head leaves as it is
VECTORS = ("type_embedding", "env_type_embed")  # of dpa4, in tables that end with a row for no type
ORDERED = ("loc_frame",)  # numbers of the descriptor stand in the order of the types of neighbours
UNORDERED = ("se_e3",)  # networks of (s, t) with s <= t serve both orders


def remapped(
    config_from: ModelConfig,
    config_to: ModelConfig,
    variables: Tree,
    fresh: Tree,
    *,
    new_head: bool = False,
    fill: bool = False,
) -> tuple[Tree, list[Row]]:
    """Variables of one model for another of other types.

    Args:
        config_from: of the pretrained model.
        config_to: of the model that is made.
        variables: ``params`` and ``stats`` of the pretrained model.
        fresh: of the other model before training; new types, and a new head, keep what they have there.
        new_head: the fitting net, its statistics and the bias are those of ``fresh``.
        fill: arrays that ``variables`` lacks are those of ``fresh``.

    Returns:
        Variables in the structure and the dtypes of ``fresh``, and for each array where it came from.

    Raises:
        ConfigError: an array is missing, or left over, or has another shape.
    """
    types = TypeChange(config_from.type_map, config_to.type_map)
    _check_order(types, config_to)
    move = _Move(types, config_to, _leaves(variables), new_head, fill)
    moved = [(path, *move.leaf(path, np.asarray(own))) for path, own in _leaves(fresh).items()]
    move.check_rest([path for path, *_ in moved])
    rows = [Row(".".join(path), value.shape, origin, note) for path, value, origin, note in moved]
    return jax.tree.unflatten(jax.tree.structure(fresh), [value for _, value, *_ in moved]), rows


@dataclass(frozen=True)
class _Move:
    """Takes arrays of the pretrained model, ``theirs``, to their places in the other one."""

    types: TypeChange
    config: ModelConfig
    theirs: dict[Path, Any]
    new_head: bool
    fill: bool

    def leaf(self, path: Path, own: np.ndarray) -> tuple[np.ndarray, str, str]:
        """Value, origin and note of the array that a fresh model has as ``own``."""
        if self._of_new_head(path):
            return own, STATISTICS if path[0] == "stats" else FRESH, "new head"
        source = self._source(path)
        if source is None:
            return own, FRESH, self._news
        if source not in self.theirs and is_adapter(path):
            return own, FRESH, "adapter"
        if source not in self.theirs and self.fill:
            return own, STATISTICS if path[0] == "stats" else FRESH, "not in the pretrained model"
        if source not in self.theirs:
            raise _misfit(path, None, own.shape)
        value = np.asarray(self.theirs[source])
        rows = self._rows(path, value, own)
        if rows is not None:
            value, note = rows
            origin = PRETRAINED if self.types.unchanged else REMAPPED
        else:
            origin, note = PRETRAINED if source == path else REMAPPED, ""
        if value.shape != own.shape:
            raise _misfit(path, value.shape, own.shape)
        return value.astype(own.dtype), origin, note

    def check_rest(self, used: list[Path]) -> None:
        """Every array of the pretrained model must have gone somewhere, except those of types that are gone."""
        sources = {self._source(path) for path in used}
        for path in self.theirs:
            gone = any(self._of_gone_type(key) for key in path)
            if path not in sources and not gone and not self._of_new_head(path):
                raise _misfit(path, np.shape(self.theirs[path]), None)

    @property
    def _news(self) -> str:
        return f"new: {', '.join(self.types.new)}"

    def _of_new_head(self, path: Path) -> bool:
        return self.new_head and path[1] not in BACKBONE

    def _member(self, path: Path) -> Any:
        """The descriptor that an array belongs to."""
        own = members(self.config.descriptor)
        return own[int(path[2].rpartition("_")[2])] if path[2].startswith("members_") else own[0]

    def _source(self, path: Path) -> Path | None:
        """Where the pretrained model has an array; None if only a new type needs it."""
        unordered = path[1] == "descriptor" and is_one_of(self._member(path), UNORDERED)
        keys = tuple(self._source_key(key, unordered) for key in path)
        return None if None in keys else keys

    def _source_key(self, key: str, unordered: bool) -> str | None:
        found = NETWORK.fullmatch(key)
        if not found:
            return key
        ours = [int(number) for number in found.groups()[1:] if number is not None]
        theirs = [self.types.index[t] for t in ours]
        if None in theirs:
            return None
        if unordered:
            theirs = sorted(theirs, reverse=ours[0] > ours[-1])
        return "_".join((found[1], *map(str, theirs)))

    def _of_gone_type(self, key: str) -> bool:
        found = NETWORK.fullmatch(key)
        numbers = [int(number) for number in found.groups()[1:] if number is not None] if found else []
        return any(number not in self.types.index for number in numbers)

    def _rows(self, path: Path, value: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, str] | None:
        """An array with a row for each type, and what is new in it; None for any other array."""
        if path[-1] in PER_TYPE:
            kind = STATISTICS if path[-1] in ("davg", "dstd") else FRESH
            return self._taken(path, value, own), f"{self._news} ({kind})" if self.types.new else ""
        if path[-2] in VECTORS and path[-1] == "adam_type_embedding":
            mixed = np.concatenate([self._taken(path, value[:-1], own[:-1]), value[-1:]])
            return mixed, f"{self._news} ({FRESH})" if self.types.new else ""
        if path == MODEL_TABLE:
            return self._model_table(path, value, own)
        if path[-3:] != TABLE or self._member(path).use_econf_tebd:
            return None
        mixed = self._taken(path, value + _skip(value), own + _skip(own)) - _skip(own)
        return mixed, f"{self._news} ({FRESH})" if self.types.new else ""

    def _model_table(self, path: Path, value: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, str] | None:
        """The matrix of the first layer of the model's type embedding, whose rows are types unless it takes electrons.

        Raises:
            ConfigError: the types change, and the layer has a skip connection, so that a row alone does not say what it makes of a
                type.
        """
        vectors = self.config.type_embedding
        if self.types.unchanged or vectors.use_econf_tebd:
            return None
        if any(matrix.shape[1] in (len(matrix), 2 * len(matrix)) for matrix in (value, own)):
            raise ConfigError(
                f"model/type_map: found {list(self.types.ours)}, but the pretrained model has {list(self.types.theirs)}, and the "
                f"first layer of its type_embedding, {value.shape[1]} wide, has a skip connection with one of these numbers of "
                "types. Keep the types of the pretrained model."
            )
        return self._taken(path, value, own), f"{self._news} ({FRESH})" if self.types.new else ""

    def _taken(self, path: Path, value: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Rows of our types, those of new ones from ``own``."""
        fits = value.shape[0] == len(self.types.theirs) and value.shape[1:] == own.shape[1:]
        if not fits:
            raise _misfit(path, value.shape, own.shape)
        return np.stack(self.types.entries(value, own))


def _check_order(types: TypeChange, config: ModelConfig) -> None:
    """Refuse other types, or another order of them, for a descriptor whose numbers stand in the order of the types."""
    if not types.unchanged and any(is_one_of(member, ORDERED) for member in members(config.descriptor)):
        raise ConfigError(
            f"model/type_map: found {list(types.ours)}, but the pretrained model has {list(types.theirs)}, and the numbers that "
            "loc_frame gives the fitting net stand in the order of its types. Give the same type_map."
        )


def _skip(matrix: np.ndarray) -> np.ndarray:
    """What the skip connection of a type embedding's layer adds to the vectors of one-hot types, (n_type, width)."""
    n_type, width = matrix.shape
    once = np.eye(n_type, dtype=matrix.dtype)
    if width in (n_type, 2 * n_type):
        return np.tile(once, (1, width // n_type))
    return np.zeros_like(matrix)


def _misfit(path: Path, theirs: tuple[int, ...] | None, ours: tuple[int, ...] | None) -> ConfigError:
    """The error for an array that one of the models has otherwise, or not at all."""
    text = (
        f"{'.'.join(path)} has the shape {_shape(theirs)} in the pretrained model, but this input needs {_shape(ours)}"
    )
    return ConfigError(f"model: {text}. {ADVICE}")


ADVICE = "Copy the model section of the pretrained model, or take it over with --use-pretrain-script."


def _shape(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else f"({', '.join(map(str, shape))})"


def _leaves(tree: Tree) -> dict[Path, Any]:
    """Arrays by their path, in the order of :func:`jax.tree.leaves`."""
    return {tuple(key.key for key in path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
