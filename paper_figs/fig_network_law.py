"""The slow law on a real network (C3): integrated without running SGD, against SGD."""

import numpy as np
import xarray
from matplotlib.figure import Figure

from numerics.check import Check, Margin, critical_value
from numerics.plotting import COLOURS, letter, markers, new_figure
from paper_figs.networks import silent
from paper_figs.record import checked, checks, dataset, var
from paper_figs.systems import mean_sem

CLAIMS = ("C3",)
ALT = (
    "Three panels for a tanh network on digits: trace of the Hessian, test loss, and test loss after late decay, "
    "each against steps. The law's lines, computed without training, pass through the points of SGD."
)
RESOLUTION = 0.03


def data(small: bool, seed: int) -> xarray.Dataset:
    """Law and SGD side by side, and the late-decay curve that the law predicts without training a branch."""
    import torch

    from numerics.networks.law_comparison import Bench, Case, compare, late_decay

    torch.set_num_threads(1)
    size = (
        {"steps": 1200, "records": 3, "runs": 2, "n": 12, "widths": (16,)}
        if small
        else {"steps": 60_000, "records": 10, "runs": 6, "n": 30, "widths": (30,)}
    )
    case = Case(
        components=20,
        classes=2,
        activation="tanh",
        gain=2.0,
        stability=0.3,
        batch=5,
        sigma=0.1,
        seed=seed,
        tolerance=0.02,
        **size,
    )
    bench = Bench.of(case)
    found, states = compare(bench, silent)
    curve = late_decay(bench, found, states, factor=20.0, branch_steps=100 if small else 3000, report=silent)
    s = found.simulated
    variables = {
        "step": var("record", found.steps, "SGD steps", "step"),
        "sharpness": var("record moment", mean_sem(s.sharpness), "trace of the Hessian, mean and standard error"),
        "sharpness_law": var("record", found.law.sharpness, "trace of the Hessian by the law"),
        "test_loss": var("record moment", mean_sem(s.test_loss), "test loss on the manifold, mean and standard error"),
        "test_loss_law": var("record", found.law_test_loss, "test loss by the law"),
        "distance": var(
            "record", found.distance, "distance between the law's path and the mean of SGD, per path length"
        ),
        "final": var("record moment", mean_sem(curve.simulated), "test loss after decay, mean and standard error"),
        "final_law": var("record", curve.predicted, "test loss after decay by the law"),
    }
    critical = critical_value(2, case.runs)
    made = [
        _check("trace of the Hessian at the end", found.law.sharpness[-1], s.sharpness[-1], critical),
        _check("test loss at the end", found.law_test_loss[-1], s.test_loss[-1], critical),
    ]
    facts = {
        "runs": case.runs,
        "n": case.n,
        "p": bench.model.size,
        "quasistatic": float(found.law.quasistatic.max()),
        "batch": case.batch,
    }
    return dataset("The law on a real network", variables, made, **facts)


def _check(quantity: str, predicted: float, values: np.ndarray, critical: float) -> Check:
    mean, sem = (float(x) for x in mean_sem(values))
    return Check(
        "C3", quantity, float(predicted), mean, sem, Margin(resolution=RESOLUTION * float(predicted)), critical
    )


def caption(data: xarray.Dataset) -> str:
    """End points, and the distance of the paths."""
    trace, test = checks(data)
    a = data.attrs
    return (
        f"The slow law on a real network (C3): a tanh MLP with p = {a['p']} parameters that interpolates {a['n']} "
        f"digits, B = {a['batch']}. The law, integrated without running SGD, says tr H = {trace['predicted']:.4g} and "
        "test loss "
        f"{test['predicted']:.4g} at step {int(data['step'].values[-1]):,}; SGD: {trace['observed']:.4g} ± "
        f"{trace['sem']:.1g} and {test['observed']:.4g} ± {test['sem']:.1g}. The paths part by "
        f"{float(data['distance'].values[-1]):.1%} of their length. "
        f"{a['runs']} runs, bars ± 2 standard errors; {checked(data)}."
    )


def draw(data: xarray.Dataset) -> Figure:
    """Trace, test loss, late decay."""
    figure, axes = new_figure(1, 3, height=2.6)
    step = data["step"].values / 1000
    panels = (
        ("sharpness", "trace of the Hessian", "SGD finds flatter minima"),
        ("test_loss", "test loss on the manifold", "... that generalise better"),
        ("final", "test loss after decay", "late decay, predicted"),
    )
    for ax, (name, label, title) in zip(axes, panels, strict=True):
        mean, sem = data[name].values.T
        ax.plot(step, data[f"{name}_law"], color=COLOURS["law"], label="law, no SGD run")
        markers(ax, step, mean, sem, f"SGD, {data.attrs['runs']} runs")
        ax.set(xlabel="SGD step / 1000" if name != "final" else "decay step / 1000", ylabel=label, title=title)
    axes[0].legend()
    letter(axes)
    return figure
