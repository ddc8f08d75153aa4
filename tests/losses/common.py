"""What the tests of several losses do: compare with stored numbers of DeePMD-kit, and put padding behind a batch."""

from __future__ import annotations

import json
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dpjax import losses
from tests.shared import golden

FILLS = [0.0, 1e30, np.nan, np.inf]  # what padding may hold


def cases(name: str) -> list[dict]:
    """The stored cases of one type of loss."""
    return json.loads(golden("losses", f"{name}.json").read_text())["cases"]


def arrays(name: str, case: str, kind: str) -> dict[str, np.ndarray]:
    """Arrays ``pred``, ``label`` or ``dloss`` of a case, by name."""
    stored = np.load(golden("losses", f"{name}.npz"))
    return {key.split("/", 2)[2]: stored[key] for key in stored.files if key.startswith(f"{case}/{kind}/")}


def check_case(name: str, case: dict) -> None:
    """Value, metrics and gradient of a stored case, to rtol 1e-9."""
    loss = losses.from_config(case["loss"], case["start_lr"], **case.get("from_model", {}))
    prediction, label, slope = (arrays(name, case["case"], kind) for kind in ("pred", "label", "dloss"))
    mask = {key: prediction.pop(key) for key in ("mask", "mask_mag") if key in prediction}

    def value(prediction, rate):
        return loss(prediction | mask, label, natoms=case["natoms"], learning_rate=rate, find=case["find"])

    step = jax.jit(jax.value_and_grad(value, has_aux=True))
    for number, want in enumerate(case["results"]):
        (got, metrics), gradient = step(prediction, want["learning_rate"])
        np.testing.assert_allclose(got, want["loss"], rtol=1e-9)
        assert set(metrics) == set(want["metrics"])
        assert loss.metrics == tuple(sorted(key for key in metrics if not key.startswith("l2_")))
        for key, expected in want["metrics"].items():
            np.testing.assert_allclose(metrics[key], np.nan if expected is None else expected, rtol=1e-9)
        for key in prediction if number == 0 else ():
            expected = slope.get(key, np.zeros_like(prediction[key]))
            np.testing.assert_allclose(gradient[key], expected, rtol=1e-9, atol=1e-9 * max(1.0, np.abs(expected).max()))


def padded(values: dict, more: dict[str, int], fill: float) -> dict:
    """``values`` with so many rows of ``fill`` behind each array."""
    return {k: np.concatenate([v, np.full((more[k], *v.shape[1:]), fill)]) for k, v in values.items()}


def grader(loss: Callable, **kwargs) -> Callable[..., tuple]:
    """Compiled function of prediction, label and ``fixed`` (predicted, too, but not differentiated).

    It gives value, metrics, and gradient by all of the prediction.
    """
    kwargs = {"learning_rate": 1e-3, "find": {}} | kwargs
    step = jax.jit(jax.value_and_grad(lambda p, label, fixed: loss(p | fixed, label, **kwargs), has_aux=True))

    def run(prediction: dict, label: dict, fixed: dict | None = None) -> tuple:
        (value, metrics), gradient = step(prediction, label, fixed or {})
        return value, metrics, gradient

    return run


def graded(loss: Callable, prediction: dict, label: dict, fixed: dict | None = None, **kwargs) -> tuple:
    """What :func:`grader` gives for one batch."""
    return grader(loss, **kwargs)(prediction, label, fixed)


def check_same(got: tuple, want: tuple, rtol: float = 1e-13) -> None:
    """What :func:`graded` gave twice is the same, except that the first may have more rows in its gradients, all zero."""
    np.testing.assert_allclose(got[0], want[0], rtol=rtol)
    assert set(got[1]) == set(want[1])
    for name, expected in want[1].items():
        np.testing.assert_allclose(got[1][name], expected, rtol=rtol)
    for name, expected in want[2].items():
        slope = jnp.asarray(got[2][name])
        np.testing.assert_allclose(slope[: len(expected)], expected, rtol=rtol, atol=rtol)
        assert not np.any(slope[len(expected) :])
