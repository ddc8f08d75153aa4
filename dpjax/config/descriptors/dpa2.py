"""Options of the ``dpa2`` descriptor: an embedding of the neighbourhood, refined by layers with attention."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config import options
from dpjax.config.descriptors.dpa2_repformer import REPFORMER, RepformerConfig
from dpjax.config.descriptors.dpa2_repinit import REPINIT, RepinitConfig
from dpjax.config.descriptors.layers import check_surroundings
from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Component, Context, Option
from dpjax.config.suggestions import join


@dataclass(frozen=True)
class DPA2Config:
    """Hyper-parameters of ``dpa2``; lengths in angstrom."""

    repinit: RepinitConfig
    repformer: RepformerConfig
    concat_output_tebd: bool = True
    precision: str = "default"
    smooth: bool = True
    exclude_types: tuple[tuple[int, int], ...] = ()
    env_protection: float = 0.0  # added to the distance in denominators
    trainable: bool = True
    seed: int | None = None
    add_tebd_to_repinit_out: bool = False
    use_econf_tebd: bool = False
    use_tebd_bias: bool = False

    # what other descriptors have as options of their own
    rcut = property(lambda self: self.repinit.rcut)
    rcut_smth = property(lambda self: self.repinit.rcut_smth)
    sel = property(lambda self: self.repinit.nsel)
    tebd_dim = property(lambda self: self.repinit.tebd_dim)
    set_davg_zero = property(lambda self: self.repinit.set_davg_zero)
    trainable_ln = property(lambda self: self.repformer.trainable_ln)


def _options() -> list[Option]:
    return [
        Option("repinit", dict, REPINIT.doc, REQUIRED, sub_fields=REPINIT.options()),
        Option("repformer", dict, REPFORMER.doc, REQUIRED, sub_fields=REPFORMER.options()),
        options.concat_output_tebd(),
        options.precision(),
        Option(
            "smooth",
            bool,
            "Fade neighbours out of attention and sums towards the cut-off, so that the energy has no steps.",
            True,
        ),
        options.exclude_types(),
        options.env_protection(),
        options.trainable(),
        options.seed("the descriptor"),
        Option(
            "add_tebd_to_repinit_out",
            bool,
            "Add the type vector of the centre, through a trained linear map, to what repinit hands to repformer.",
            False,
            alias=["repformer_add_type_ebd_to_seq"],
        ),
        options.use_econf_tebd(),
        options.use_tebd_bias(),
    ]


def _sections(section: dict, path: str, context: Context) -> dict[str, RepinitConfig | RepformerConfig | None]:
    return {
        part.name: part.parse(section[part.name], join(path, part.name), context) if part.name in section else None
        for part in (REPINIT, REPFORMER)
    }


def _check(cfg: DPA2Config, path: str, context: Context) -> Iterator[Problem]:
    yield from check_surroundings(cfg, path, context)
    outer, inner = cfg.repinit, cfg.repformer
    for key in ("rcut", "nsel"):
        most, value = getattr(outer, key), getattr(inner, key)
        if not isinstance(most, str) and not isinstance(value, str) and value >= most:
            text = f"found {value}, but repinit/{key} is {most}; the one of repformer must be smaller."
            yield Problem(join(path, f"repformer/{key}"), text)
    if outer.use_three_body:
        yield from _check_order(cfg, join(path, "repinit/three_body_sel"))


def _check_order(cfg: DPA2Config, path: str) -> Iterator[Problem]:
    """The neighbours of the angles are picked from the same list as those of the blocks: a longer reach needs more."""
    reach, count = cfg.repinit.three_body_rcut, cfg.repinit.three_body_sel
    for name, block in (("repinit", cfg.repinit), ("repformer", cfg.repformer)):
        if isinstance(count, str) or isinstance(block.nsel, str):
            continue
        if (reach < block.rcut and count > block.nsel) or (reach > block.rcut and count < block.nsel):
            more, fewer = ("larger", "fewer") if reach > block.rcut else ("smaller", "more")
            yield Problem(
                path,
                f"found {count}, but three_body_rcut {reach} is {more} than {name}/rcut ({block.rcut}), so it must not count "
                f"{fewer} neighbours than {name}/nsel ({block.nsel}).",
            )


DPA2 = Component(
    "dpa2",
    DPA2Config,
    _options,
    _check,
    doc="An embedding of the neighbourhood (repinit), refined by layers with attention between neighbours (repformer).",
    sections=_sections,
)
