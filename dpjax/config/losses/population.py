"""Options of the ``population`` loss, which DeePMD-kit has since 3.2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpjax.config.checks import check_at_least, check_choice, check_positive
from dpjax.config.losses import options
from dpjax.config.options import newer
from dpjax.config.problems import Problem
from dpjax.config.schema import Component, Context, Option
from dpjax.config.suggestions import join

_MEASURES = ("smooth_mae", "mae", "rmse")
_METRICS = ("smooth_mae", "mae", "mse", "rmse")
_TERMS = {
    "spin": "spin of each atom",
    "spin_total": "spin of the frame",
    "pop": "population of each atom",
    "pop_alpha_total": "number of electrons with spin up in the frame",
    "pop_beta_total": "number of electrons with spin down in the frame",
}
_PREFACTORS = tuple(f"{end}_pref_{term}" for term in _TERMS for end in ("start", "limit"))


@dataclass(frozen=True, kw_only=True)
class PopulationLossConfig:
    """Loss of population models; what is not given is None."""

    start_pref_spin: float | None = None
    limit_pref_spin: float | None = None
    start_pref_spin_total: float | None = None
    limit_pref_spin_total: float | None = None
    start_pref_pop: float | None = None
    limit_pref_pop: float | None = None
    start_pref_pop_alpha_total: float | None = None
    limit_pref_pop_alpha_total: float | None = None
    start_pref_pop_beta_total: float | None = None
    limit_pref_pop_beta_total: float | None = None
    loss_func: str | None = None
    metric: tuple[str, ...] | None = None
    beta: float | None = None
    type: str = "population"


def _options() -> list[Option]:
    when = {"start": "at the start", "limit": "when the learning rate has become zero"}
    terms = [
        Option(
            f"{end}_pref_{term}",
            options.NUMBER,
            f"Prefactor of the error of the {what} (label atomic_population.npy) {when[end]}; 1 if not given.",
            1.0,
        )
        for term, what in _TERMS.items()
        for end in when
    ]
    words = [options.loss_measure(_MEASURES), options.metric(_METRICS), options.smooth_beta()]
    return [newer(option) for option in (*terms, *words)]


def _check(cfg: PopulationLossConfig, path: str, context: Context) -> Iterator[Problem]:
    yield from check_at_least(cfg, 0, _PREFACTORS, path)
    if all(getattr(cfg, key) == 0 for key in _PREFACTORS):
        yield Problem(path, "all prefactors are 0, so nothing is minimised. Remove one of them; it is then 1.")
    if cfg.loss_func is not None:
        yield from check_choice(cfg.loss_func, _MEASURES, join(path, "loss_func"))
    yield from options.check_metric(cfg.metric or (), _METRICS, join(path, "metric"))
    yield from check_positive(cfg, ["beta"], path)


POPULATION = Component(
    "population",
    PopulationLossConfig,
    _options,
    _check,
    doc="Errors of the electrons and of the spin on each atom and in the frame.",
    built=False,
    newer=True,
)
