"""Pictures of a training and of a test: learning curves, parity plots, histograms of errors.

matplotlib (extra ``plot``) is loaded when a picture is drawn, without a window and without changing the user's settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dpjax.errors import DataError, DPError, OutputError
from dpjax.interfaces.reports import Comparison, TestReport
from dpjax.training.lcurve import read_lcurve

MAX_POINTS = 50_000  # more are thinned out evenly: a picture of millions of dots is one blot
INK, GRID, TRAIN, VALID = "#22313f", "#d9dee3", "#d1711c", "#1f6f9e"

STYLE = {
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "font.size": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
}

CURVES = {  # column stem of lcurve.out -> title, unit
    "rmse": ("Root of the loss", ""),
    "rmse_e": ("Energy RMSE per atom", "eV"),
    "rmse_f": ("Force RMSE", "eV/Å"),
    "rmse_v": ("Virial RMSE per atom", "eV"),
}


def plot_learning_curve(path: str | Path, output: str | Path) -> Path:
    """Draws the errors and the learning rate of an ``lcurve.out`` over the steps; both error axes are logarithmic.

    Returns the path of the picture.

    Raises:
        DataError: see :func:`dpjax.training.lcurve.read_lcurve`.
        OutputError: the picture cannot be written.
    """
    columns = read_lcurve(path)
    stems = [stem for stem in CURVES if any(_drawable(columns, name) for name in _variants(stem))]
    if any(stem != "rmse" for stem in stems):
        stems = [stem for stem in stems if stem != "rmse"]  # its prefactors change along the run
    with _canvas(output, len(stems) + 1, (3.9, 3.5)) as axes:
        for axis, stem in zip(axes, stems, strict=False):
            _draw_errors(axis, columns, stem)
        _draw_learning_rate(axes[-1], columns)
    return Path(output)


def plot_parity(report: TestReport, output: str | Path) -> Path:
    """Draws predictions over labels, one panel per quantity; returns the path of the picture.

    Raises:
        OutputError: the picture cannot be written.
    """
    panels = _panels(report)
    with _canvas(output, len(panels), (4.1, 4.0)) as axes:
        for axis, comparison in zip(axes, panels, strict=True):
            _draw_parity(axis, comparison)
    return Path(output)


def plot_error_histogram(report: TestReport, output: str | Path) -> Path:
    """Draws how prediction minus label is distributed, one panel per quantity; returns the path of the picture.

    Raises:
        OutputError: the picture cannot be written.
    """
    panels = _panels(report)
    with _canvas(output, len(panels), (4.1, 3.4)) as axes:
        for axis, comparison in zip(axes, panels, strict=True):
            _draw_histogram(axis, comparison)
    return Path(output)


@contextmanager
def _canvas(output: str | Path, n_panel: int, size: tuple[float, float]) -> Iterator[Any]:
    """Axes of a row of panels, saved afterwards: no pyplot, so no window and no figure left behind."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DPError("plots need matplotlib, which is not installed: pip install 'dpjax[plot]'") from error
    output = Path(output)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(size[0] * n_panel, size[1]), layout="constrained")
        yield figure.subplots(1, n_panel, squeeze=False)[0]
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(output)
        except (OSError, ValueError) as error:
            raise OutputError(f"{output}: cannot write the picture: {error}") from error


def _panels(report: TestReport) -> list[Comparison]:
    found = (report.comparison(name) for name, quantity in report.quantities.items() if quantity.drawn)
    panels = [comparison for comparison in found if comparison is not None]
    if not panels:
        raise DataError("the report compares nothing, so there is nothing to draw")
    return panels


def _draw_parity(axis: Any, comparison: Comparison) -> None:
    quantity, errors = comparison.quantity, comparison.errors
    label, guess = (_thinned(a.ravel()) for a in (comparison.reference, comparison.prediction))
    low, high = min(label.min(), guess.min()), max(label.max(), guess.max())
    margin = 0.04 * (high - low) or 1e-3
    ends = [low - margin, high + margin]
    axis.plot(ends, ends, color=INK, linewidth=0.8)
    size = 4 if label.size > 2000 else 14
    axis.scatter(
        label, guess, s=size, color=VALID, alpha=0.25 if label.size > 2000 else 0.7, linewidths=0, rasterized=True
    )
    axis.set(xlim=ends, ylim=ends, aspect="equal", title=quantity.title)
    axis.set(xlabel=_with_unit("label", quantity.unit), ylabel=_with_unit("prediction", quantity.unit))
    axis.locator_params(nbins=5)
    axis.ticklabel_format(useOffset=False)
    text = f"RMSE {_scaled_text(errors.rmse, quantity.unit)}\nMAE {_scaled_text(errors.mae, quantity.unit)}"
    axis.text(0.04, 0.96, text, transform=axis.transAxes, va="top")


def _draw_histogram(axis: Any, comparison: Comparison) -> None:
    quantity = comparison.quantity
    scale, unit = (1000, f"m{quantity.unit}") if quantity.unit else (1, "")
    difference = scale * (comparison.prediction - comparison.reference).ravel()
    reach = np.quantile(np.abs(difference), 0.995) or 1.0
    bins = np.linspace(-reach, reach, int(np.clip(np.sqrt(difference.size), 15, 81)))
    axis.hist(difference, bins=bins, color=VALID, alpha=0.85)
    axis.axvline(difference.mean(), color=TRAIN, linewidth=1.2, label=f"mean {difference.mean():+.3g}")
    axis.set(title=f"{quantity.title}: error", xlabel=_with_unit("prediction − label", unit), ylabel="count")
    axis.margins(y=0.25)
    axis.legend(loc="upper right")


def _draw_errors(axis: Any, columns: dict[str, np.ndarray], stem: str) -> None:
    title, unit = CURVES[stem]
    named = {"training": TRAIN, "validation": VALID}
    for (label, color), name in zip(named.items(), _variants(stem), strict=False):
        if _drawable(columns, name):
            axis.plot(columns["step"], columns[name], color=color, linewidth=1.3, label=label, **_marker(columns))
    if f"{stem}_trn" not in columns and _drawable(columns, stem):
        axis.plot(columns["step"], columns[stem], color=TRAIN, linewidth=1.3, label="training", **_marker(columns))
    axis.set(title=title, xlabel="step", ylabel=unit, yscale="log")
    axis.grid(which="minor", axis="y", linewidth=0.3)
    axis.legend()


def _draw_learning_rate(axis: Any, columns: dict[str, np.ndarray]) -> None:
    if "lr" in columns and np.any(columns["lr"] > 0):
        axis.plot(columns["step"], columns["lr"], color=INK, linewidth=1.3, drawstyle="steps-post")
        axis.set_yscale("log")
    axis.set(title="Learning rate", xlabel="step")


def _variants(stem: str) -> tuple[str, str, str]:
    return f"{stem}_trn", f"{stem}_val", stem


def _drawable(columns: dict[str, np.ndarray], name: str) -> bool:
    return name in columns and bool(np.any(np.isfinite(columns[name]) & (columns[name] > 0)))


def _marker(columns: dict[str, np.ndarray]) -> dict[str, Any]:
    return {"marker": "o", "markersize": 3} if len(columns["step"]) < 40 else {}


def _with_unit(text: str, unit: str) -> str:
    return f"{text} ({unit})" if unit else text


def _scaled_text(value: float, unit: str) -> str:
    return f"{1000 * value:.3g} m{unit}" if unit and value < 1 else f"{value:.3g} {unit}".rstrip()


def _thinned(values: np.ndarray) -> np.ndarray:
    return values[:: -(-values.size // MAX_POINTS)]
