"""The comparison of law and SGD told: lines, breakdown table, netCDF, summary."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from numerics.networks import law_breakdown
from numerics.networks.law_breakdown import Row
from numerics.networks.law_comparison import Bench, Comparison, DecayCurve

if TYPE_CHECKING:
    import xarray


def lines(bench: Bench, found: Comparison, curve: DecayCurve, rows: list[Row]) -> list[str]:
    """Everything as text."""
    return [*_path_lines(bench, found), *_error_lines(found), *_decay_lines(curve), *law_breakdown.lines(rows)]


def _path_lines(bench: Bench, found: Comparison) -> list[str]:
    case = bench.case
    text = [
        f"\n{case.activation} MLP {case.widths}, p = {bench.model.size}, n = {case.n}, {bench.y.shape[1]} output(s); "
        f"eta = {bench.eta:.4g} (eta λ_max/2 = {case.stability:g}), B = {case.batch}, sigma = {case.sigma:g}, "
        f"{case.runs} runs\n",
        f"{'step':>9}  {'tr H law':>9} {'SGD':>9} {'± sem':>7}  {'test law':>8} {'SGD':>8} {'± sem':>7}  "
        f"{'distance':>8}  {'quasistatic':>11}",
    ]
    for k, step in enumerate(found.steps):
        traces, tests = found.simulated.sharpness[k], found.simulated.test_loss[k]
        text.append(
            f"{step:9.0f}  {found.law.sharpness[k]:9.4f} {traces.mean():9.4f} {_sem(traces):7.4f}  "
            f"{found.law_test_loss[k]:8.5f} {tests.mean():8.5f} {_sem(tests):7.5f}  {found.distance[k]:8.2%}  "
            f"{found.law.quasistatic[k]:11.4f}"
        )
    return text


def _sem(values: Any) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def _error_lines(found: Comparison) -> list[str]:
    worst = {
        name: (values[-1], np.abs(values[1:]).max())
        for name, values in (
            ("tr H", found.trace_error),
            ("test loss", found.test_error),
            ("path distance", found.distance),
        )
    }
    sampling = f"of the path distance, the number of runs explains {found.sampling[-1]:.2%} at the end"
    return [
        "",
        *(f"{name}: off by {end:+.2%} at the end, {most:.2%} at most" for name, (end, most) in worst.items()),
        sampling,
    ]


def _decay_lines(curve: DecayCurve) -> list[str]:
    text = ["\nlate decay: final test loss against decay step, predicted without training a branch, and simulated"]
    for step, law, runs in zip(curve.steps, curve.predicted, curve.simulated, strict=True):
        text.append(f"{step:9.0f}  {law:.5f}  {runs.mean():.5f} ± {_sem(runs):.5f}  ({law / runs.mean() - 1:+.2%})")
    return text


def summary(bench: Bench, found: Comparison, curve: DecayCurve, rows: list[Row]) -> dict[str, Any]:
    """Settings and results for summary.json, without provenance."""
    runs = found.simulated
    return {
        "job": "network-law",
        "settings": {**asdict(bench.case), "eta": bench.eta, "p": bench.model.size},
        "steps": found.steps,
        "law": {
            "sharpness": found.law.sharpness,
            "test_loss": found.law_test_loss,
            "floor": found.law.floor,
            "quasistatic": found.law.quasistatic,
            "integration_error": found.law.error,
        },
        "simulation": {
            f"{name}_{kind}": value
            for name, values in (("sharpness", runs.sharpness), ("test_loss", runs.test_loss), ("floor", runs.floor))
            for kind, value in (("mean", values.mean(axis=1)), ("sem", [_sem(entry) for entry in values]))
        },
        "errors": {
            "sharpness": found.trace_error,
            "test_loss": found.test_error,
            "path_distance": found.distance,
            "path_distance_sampling": found.sampling,
        },
        "late_decay": asdict(curve),
        "table": [asdict(entry) for entry in rows],
    }


def dataset(found: Comparison, curve: DecayCurve) -> "xarray.Dataset":
    """Every curve, labelled; runs keep their axis."""
    import xarray

    runs = found.simulated
    variables: dict[str, Any] = {
        "sharpness_law": (("step",), found.law.sharpness, {"long_name": "trace of the Hessian by the law"}),
        "sharpness_sgd": (("step", "run"), runs.sharpness, {"long_name": "trace of the Hessian on M"}),
        "test_loss_law": (("step",), found.law_test_loss, {"long_name": "test loss by the law"}),
        "test_loss_sgd": (("step", "run"), runs.test_loss, {"long_name": "test loss on M"}),
        "floor_law": (("step",), found.law.floor, {"long_name": "mean training loss by the law"}),
        "floor_sgd": (("step", "run"), runs.floor, {"long_name": "mean training loss since the record before"}),
        "quasistatic": (("step",), found.law.quasistatic, {"long_name": "drift rate over slowest relaxation rate"}),
        "distance": (("step",), found.distance, {"long_name": "distance between the paths over path length"}),
        "distance_sampling": (("step",), found.sampling, {"long_name": "standard error of the mean path, same unit"}),
        "theta_law": (("step", "parameter"), found.law.theta.numpy(), {"long_name": "weights by the law"}),
        "theta_sgd": (("step", "parameter"), runs.theta.mean(dim=1).numpy(), {"long_name": "weights on M, run mean"}),
        "decayed_test_loss_law": (("step",), curve.predicted, {"long_name": "test loss after decay by the law"}),
        "decayed_test_loss_sgd": (("step", "run"), curve.simulated, {"long_name": "test loss after decay"}),
    }
    return xarray.Dataset(variables, {"step": ("step", found.steps, {"units": "step"})}, {"title": "network law"})
