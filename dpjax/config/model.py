"""The ``model`` section: type names, descriptor, fitting net and what applies to the model as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from dpjax.config.descriptor_se_e2_a import SE_E2_A, SeE2AConfig
from dpjax.config.fitting_ener import ENER, EnerFittingConfig
from dpjax.config.networks import check_type_indices, check_type_pairs
from dpjax.config.schema import REQUIRED, Component, Context, Option, Registry, freeze
from dpjax.config.suggestions import did_you_mean, found, join
from dpjax.errors import ConfigError

DESCRIPTORS = Registry(
    "descriptor",
    (SE_E2_A,),
    planned=(
        "loc_frame", "se_e2_r", "se_r", "se_e3", "se_at", "se_a_3be", "se_t", "se_e3_tebd", "se_a_tpe", "se_a_ebd",
        "se_a_ebd_v2", "se_a_tpe_v2", "se_a_mask", "se_atten", "dpa1", "se_atten_v2", "dpa2", "dpa3", "dpa4", "DPA4",
        "SeZM", "sezm", "hybrid",
    ),
    doc="Which descriptor turns an atom's neighbourhood into numbers.",
)  # fmt: skip

FITTINGS = Registry(
    "fitting net",
    (ENER,),
    planned=("dpa4_ener", "sezm_ener", "dos", "property", "polar", "dipole"),
    default="ener",
    doc="What the fitting net predicts.",
)

# output that a fitting net predicts, as it is called in preset_out_bias
_OUTPUTS = {"ener": ("energy",)}


@dataclass(frozen=True)
class ModelConfig:
    """A ``standard`` model: one descriptor and one fitting net."""

    type_map: tuple[str, ...]
    descriptor: SeE2AConfig
    fitting_net: EnerFittingConfig
    type: str = "standard"
    data_stat_nbatch: int = 10
    data_stat_protect: float = 0.01
    data_bias_nsample: int = 10
    pair_exclude_types: tuple[tuple[int, int], ...] = ()
    atom_exclude_types: tuple[int, ...] = ()
    preset_out_bias: dict[str, tuple] | None = None  # output -> one entry per type: number, tuple of numbers or None
    info: dict[str, Any] = field(default_factory=dict)
    model_branch_alias: tuple[str, ...] = ()
    raw: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)  # the normalised section


def _standard_options() -> list[Option]:
    return [
        Option(
            "descriptor",
            dict,
            "How an atom's neighbourhood becomes numbers.",
            REQUIRED,
            sub_variants=[DESCRIPTORS.variant()],
        ),
        Option(
            "fitting_net", dict, "How these numbers become a prediction.", REQUIRED, sub_variants=[FITTINGS.variant()]
        ),
        Option(
            "model_branch_alias", list[str], "Other names of this model, for use where a branch is chosen by name.", []
        ),
        Option("info", dict, "Free remarks that are stored with the model.", {}),
    ]


def _check_standard(cfg: ModelConfig, path: str, context: Context) -> None:
    """The checks of keys that every model has; sections check themselves."""
    for key in ("data_stat_nbatch", "data_bias_nsample"):
        if getattr(cfg, key) < 1:
            raise ConfigError(f"{path}/{key}: found {getattr(cfg, key)}; it must be at least 1.")
    if cfg.data_stat_protect <= 0:
        raise ConfigError(f"{path}/data_stat_protect: found {cfg.data_stat_protect}; it must be positive.")
    check_type_pairs(cfg.pair_exclude_types, context.type_map, join(path, "pair_exclude_types"))
    for i, index in enumerate(cfg.atom_exclude_types):
        if type(index) is not int:
            raise ConfigError(f"{path}/atom_exclude_types/{i}: {found(index)}, expected a type index.")
    check_type_indices(cfg.atom_exclude_types, context.type_map, join(path, "atom_exclude_types"))
    _check_preset(cfg.preset_out_bias, cfg.raw["fitting_net"]["type"], context, join(path, "preset_out_bias"))


def _check_preset(preset: dict | None, fitting: str, context: Context, path: str) -> None:
    n_type = len(context.type_map)
    for name, values in (preset or {}).items():
        valid = _OUTPUTS[fitting]
        if name not in valid:
            raise ConfigError(
                f"{join(path, name)}: unknown output; a {fitting} model has: "
                f"{', '.join(valid)}.{did_you_mean(name, valid)}"
            )
        if len(values) != n_type:
            raise ConfigError(
                f"{join(path, name)}: found {len(values)} entries, but model/type_map has {n_type} "
                f"({', '.join(context.type_map)}). "
                "Give one value per type, null where the data shall decide."
            )


STANDARD = Component(
    "standard", ModelConfig, _standard_options, _check_standard, doc="One descriptor and one fitting net."
)

MODELS = Registry(
    "model",
    (STANDARD,),
    planned=("dpa4", "DPA4", "SeZM", "sezm", "frozen", "pairtab", "pairwise_dprc", "linear_ener"),
    default="standard",
    doc="How the model is put together.",
)

_ZBL = "the short-range pair table (use_srtab)"


def argument() -> Option:
    """The ``model`` argument."""
    return Option(
        "model",
        dict,
        "The model to train.",
        REQUIRED,
        sub_fields=[*_common_options(), *_later_options()],
        sub_variants=[MODELS.variant()],
        planned={"model_dict": "training several models at once", "shared_dict": "training several models at once"},
    )


def _common_options() -> list[Option]:
    return [
        Option("type_map", list[str], "Names of the atom types; everything that is given per type follows this order."),
        Option(
            "data_stat_nbatch",
            int,
            "Batches per system that the statistics of the descriptor and of the energy are taken from.",
            10,
        ),
        Option(
            "data_stat_protect",
            float,
            "Smallest spread by which frame and atomic parameters are divided when they are normalised.",
            0.01,
        ),
        Option("data_bias_nsample", int, "Batches per system used when the energy bias is changed.", 10),
        Option(
            "pair_exclude_types",
            list,
            "Pairs of types that are no neighbours of each other anywhere in the model, as in [[0, 1]].",
            [],
        ),
        Option("atom_exclude_types", list, "Types whose atoms contribute nothing to the prediction.", []),
        Option(
            "preset_out_bias",
            [dict[str, list[float | list[float] | None]], None],
            'Bias of an output per type, fixed instead of taken from the data, as in {"energy": [null, -3.2]}; null '
            "leaves a type "
            "to the data. Use with set_davg_zero.",
            None,
        ),
    ]


def _later_options() -> list[Option]:
    return [
        Option("use_srtab", str, "File with a pair table that takes over at short distances.", not_built=_ZBL),
        Option(
            "smin_alpha",
            float,
            "Sharpness of the soft minimum distance that switches to the pair table.",
            not_built=_ZBL,
        ),
        Option("sw_rmin", float, "Distance in angstrom below which only the pair table acts.", not_built=_ZBL),
        Option("sw_rmax", float, "Distance in angstrom above which only the model acts.", not_built=_ZBL),
        Option(
            "srtab_add_bias", bool, "Whether the pair table gets the energy bias of the data.", True, not_built=_ZBL
        ),
        Option(
            "type_embedding", dict, "Trained vectors for atom types.", not_built="a type embedding for this descriptor"
        ),
        Option("modifier", dict, "A correction taken off the labels before training.", not_built="the label modifier"),
        Option("compress", dict, "Tabulation of the embedding nets.", not_built="a compressed model as training input"),
        Option("spin", dict, "Which types carry a spin, and how.", not_built="the spin model"),
        Option(
            "finetune_head",
            str,
            "Branch of a multi-task model to start from.",
            not_built="fine-tuning from a chosen branch",
        ),
    ]


def parse(section: dict, path: str = "model") -> ModelConfig:
    """The dataclasses of a normalised ``model`` section.

    Raises:
        ConfigError: where keys contradict each other.
    """
    type_map = _type_map(section, path)
    context = Context(type_map)
    parts = {
        "descriptor": DESCRIPTORS.parse(section["descriptor"], join(path, "descriptor"), context),
        "fitting_net": FITTINGS.parse(section["fitting_net"], join(path, "fitting_net"), context),
    }
    component = MODELS[section["type"]]
    plain = {k: freeze(v) for k, v in section.items() if k not in parts}
    names = {f.name for f in fields(component.config)}
    kept = {k: v for k, v in plain.items() if k in names} | parts | {"info": section.get("info", {}), "raw": section}
    cfg = component.config(**kept)
    component.check(cfg, path, context)
    return cfg


def _type_map(section: dict, path: str) -> tuple[str, ...]:
    names = tuple(section.get("type_map") or ())
    if not names:
        raise ConfigError(
            f'{path}/type_map: missing; it is required. Give the names of the atom types, as in ["O", "H"]; entries '
            "of sel and "
            "of other lists per type follow this order."
        )
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ConfigError(
                f"{path}/type_map/{i}: {name!r} is already entry {names.index(name)}; every type must have its own "
                "name."
            )
    return names
