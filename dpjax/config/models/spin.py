"""The ``spin`` section of a model: which atoms carry a magnetic moment, and how the model sees it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.checks import check_choice, check_per_type, check_type_indices
from dpjax.config.problems import Problem
from dpjax.config.schema import REQUIRED, Context, Option, parsed
from dpjax.config.suggestions import did_you_mean, join, show


@dataclass(frozen=True, kw_only=True)
class SpinConfig:
    """Magnetic moments; lengths in angstrom, moments in the unit of the data."""

    use_spin: tuple[bool, ...] | tuple[int, ...] | tuple[str, ...]  # flags per type, or indices or names of types
    spin_norm: tuple[float, ...] | None = None
    virtual_len: tuple[float, ...] | None = None
    virtual_scale: tuple[float, ...] | float | None = None
    scheme: str | None = None  # deepspin where absent
    allow_missing_label: bool | None = None

    @property
    def native(self) -> bool:
        """Whether spins enter the descriptor as vectors, without virtual atoms."""
        return (self.scheme or "deepspin").lower() == "native"

    def carriers(self, type_map: tuple[str, ...]) -> tuple[bool, ...]:
        """Which types carry a spin."""
        chosen = _types_with_spin(self.use_spin, type_map)
        return tuple(t in chosen for t in range(len(type_map)))

    def scales(self, type_map: tuple[str, ...]) -> tuple[float, ...]:
        """Distance of the virtual atom per unit of spin for each type, angstrom; 0 for types without spin."""
        carriers = self.carriers(type_map)
        if self.virtual_scale is not None:
            given = self.virtual_scale
            found = _each(given if isinstance(given, tuple) else (given,) * len(carriers), carriers)
        else:
            lengths, norms = _each(self.virtual_len, carriers), _each(self.spin_norm, carriers)
            found = [a / b if b else 0.0 for a, b in zip(lengths, norms, strict=True)]
        return tuple(float(x) if on else 0.0 for x, on in zip(found, carriers, strict=True))


def _each(values: tuple[float, ...], carriers: tuple[bool, ...]) -> list[float]:
    """One value for each type, of values for each type or for each that carries a spin."""
    if len(values) == len(carriers):
        return list(values)
    own = iter(values)
    return [next(own) if on else 0.0 for on in carriers]


def argument() -> Option:
    """The ``spin`` section."""
    return Option(
        "spin",
        dict,
        "For magnetic materials: which types carry a spin, and where the virtual atoms stand that represent the spins.",
        sub_fields=_options(),
    )


def _options() -> list[Option]:
    return [
        Option(
            "use_spin",
            [list[bool], list[int]],
            "Which types carry a spin: true or false for every entry of type_map, or only the indices or the names of the "
            "types that do.",
            REQUIRED,
            also=[list[str]],
        ),
        Option(
            "spin_norm",
            list[float],
            "Length of the spin vector of each type with spin, in the unit of the data; used together with virtual_len.",
        ),
        Option(
            "virtual_len",
            list[float],
            "Distance in angstrom between an atom with a spin of length spin_norm and its virtual atom, for each type with "
            "spin.",
        ),
        Option(
            "virtual_scale",
            [list[float], float],
            "Distance between an atom and its virtual atom per unit of spin: the virtual atom stands at the position of the "
            "atom plus virtual_scale times its spin. One number, or one for each type, or one for each type with spin.",
        ),
        *_newer_options(),
    ]


def _newer_options() -> list[Option]:
    zeros = (
        "the virtual atom of a spin that is zero stands on its own atom, where the energy of such a model has a kink; a model that "
        "was not trained with spins cannot be joined to one that was in this way. Give the systems a spin.npy"
    )
    scheme = (
        "`deepspin`: a virtual atom stands for each spin. `native`: the spin enters the descriptor as a vector, without "
        "virtual atoms; only the DPA4 descriptors can do this."
    )
    missing = "Take zero spins for systems without spin.npy instead of refusing them."
    return [
        Option("scheme", str, scheme, neutral="deepspin", newer=True, not_built="spins as vectors in the descriptor"),
        Option(
            "allow_missing_label",
            bool,
            missing,
            neutral=False,
            newer=True,
            refused=zeros,
        ),
    ]


def parse(section: dict, path: str, context: Context) -> SpinConfig | None:
    """The dataclass of a normalised section; None where something in it is wrong."""
    return parsed(SpinConfig, _check, section, path, context)


def _check(cfg: SpinConfig, path: str, context: Context) -> Iterator[Problem]:
    scheme = "native" if cfg.native else (cfg.scheme or "deepspin").lower()
    yield from check_choice(scheme, ("deepspin", "native"), join(path, "scheme"))
    wrong = list(_check_use_spin(cfg.use_spin, context.type_map, join(path, "use_spin")))
    yield from wrong
    if scheme == "native":  # nothing else is read
        return
    yield from _check_missing(cfg, path)
    for key in () if wrong else ("spin_norm", "virtual_len", "virtual_scale"):
        yield from _check_values(cfg, key, path, context.type_map)


def _check_use_spin(use_spin: tuple, type_map: tuple[str, ...], path: str) -> Iterator[Problem]:
    if use_spin and isinstance(use_spin[0], bool):
        yield from check_per_type(use_spin, type_map, "true or false", path)
    elif use_spin and isinstance(use_spin[0], str):
        for i, name in enumerate(use_spin if type_map else ()):
            if name not in type_map:
                names = ", ".join(type_map)
                text = f"found {name!r}, which is not in model/type_map ({names}).{did_you_mean(name, type_map)}"
                yield Problem(join(path, i), text)
    else:
        yield from check_type_indices(use_spin, type_map, path)


def _check_missing(cfg: SpinConfig, path: str) -> Iterator[Problem]:
    """Virtual atoms need a place: a scale, or a length and the spin that it belongs to."""
    given = [key for key in ("spin_norm", "virtual_len") if getattr(cfg, key) is not None]
    if cfg.virtual_scale is not None or len(given) == 2:
        return
    if not given:
        text = "missing; give virtual_scale, or virtual_len together with spin_norm."
        yield Problem(join(path, "virtual_scale"), text)
        return
    other = {"spin_norm": "virtual_len", "virtual_len": "spin_norm"}[given[0]]
    yield Problem(
        join(path, other), f"missing; it is required together with {given[0]}, unless virtual_scale is given."
    )


def _check_values(cfg: SpinConfig, key: str, path: str, type_map: tuple[str, ...]) -> Iterator[Problem]:
    values, here = getattr(cfg, key), join(path, key)
    if not isinstance(values, tuple):
        if values == 0:
            yield Problem(here, _ZERO.format(show(values)))
        return
    with_spin = _types_with_spin(cfg.use_spin, type_map)
    n_type = len(type_map) or (len(cfg.use_spin) if _is_flags(cfg.use_spin) else None)
    if n_type is not None and len(values) not in (len(with_spin), n_type):
        text = f"found {len(values)} entries; give {len(with_spin)}, one for each type with spin, or {n_type}, one per type."
        yield Problem(here, text)
        return
    per_type = len(values) == n_type and len(values) != len(with_spin)
    for i, value in enumerate(values):
        if per_type and i not in with_spin:
            continue
        if key == "virtual_scale" and value == 0:
            yield Problem(join(here, i), _ZERO.format(show(value)))
        elif key != "virtual_scale" and value <= 0:
            yield Problem(join(here, i), f"found {show(value)}; it must be positive.")


_ZERO = "found {}; it must not be zero, or the virtual atom stands on its atom and says nothing about the spin."


def _is_flags(use_spin: tuple) -> bool:
    return bool(use_spin) and isinstance(use_spin[0], bool)


def _types_with_spin(use_spin: tuple, type_map: tuple[str, ...]) -> set:
    """Indices of the types with spin; names where no ``type_map`` says their indices."""
    if _is_flags(use_spin):
        return {i for i, flag in enumerate(use_spin) if flag}
    return {type_map.index(t) if t in type_map else t for t in use_spin}
