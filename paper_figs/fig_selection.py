"""Where the minimum-norm solution is selected (C5), in the plane of rows n and depth D."""

import numpy as np
import xarray
from matplotlib.figure import Figure

from numerics.check import Check, Margin, critical_value, mean_and_sem
from numerics.plotting import COLOURS, letter, markers, new_figure
from numerics.problem import Problem
from numerics.run.radial_system import RadialSystem
from numerics.run.settings import validated
from numerics.schedule import Constant
from numerics.start import null_direction
from paper_figs.record import checked, dataset, var
from paper_figs.systems import FloatArray, Path, mean_sem, radial
from theory.parametrization import named

CLAIMS = ("C5",)
ALT = (
    "Left: plane of training rows and depth. A stepped boundary rises to the right; simulated points above it drift "
    "away from the minimum-norm "
    "solution, points below it drift to it. Right: distance against steps from starts above and below: all runs end "
    "at the predicted resting distance."
)
ROWS = tuple(range(1, 13))
DEPTHS = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0)
_NEAR = 0.12  # rho of the start, in units of |w_mn|
_LOAD, _SIGMA = 0.1, 0.05
_CHANGE = 0.04  # of ln rho, sought in each run by the law's own rate


def data(small: bool, seed: int) -> xarray.Dataset:
    """Boundary from one nested Gaussian data set; the sign of the drift near w_mn.

    Two approaches to a resting point.
    """
    rows, depths = (ROWS[::2], DEPTHS[1::2]) if small else (ROWS, DEPTHS)
    replicas = 48 if small else 128
    whole = radial(n=max(ROWS), features=40, depth=2.0, seed=seed).problem
    problems = {n: Problem(whole.X[:n], whole.y[:n], w_star=whole.w_star) for n in ROWS}
    boundary = [_threshold(problems[n]) for n in ROWS]
    found = np.array([[_drift(problems[n], D, replicas, seed) for D in depths] for n in rows])
    rest = _resting(problems[2], replicas, small, seed)
    critical = critical_value(found.shape[0] * found.shape[1], replicas)
    made = [_check(found[i, j], n, D, critical) for i, n in enumerate(rows) for j, D in enumerate(depths)]
    variables = {
        "n": var("row", np.array(ROWS), "training rows"),
        "boundary": var("row", np.array(boundary), "largest depth at which the minimum-norm solution is the flattest"),
        "n_simulated": var("point", np.array(rows), "training rows"),
        "depth": var("depth", np.array(depths), "depth D"),
        "drift": var("point depth quantity", found, "change of ln rho near w_mn: mean, standard error, by the law"),
        **rest[0],
    }
    return dataset(
        "Selection threshold", variables, [*made, rest[1]], replicas=replicas, d=40, resting=rest[1].predicted
    )


def _threshold(problem: Problem) -> float:
    """D with (D + 1)|y|^2 = |X|_F^2 |w_mn|^2."""
    return float(np.sum(problem.X**2) * problem.norm_w_mn**2 / (problem.y @ problem.y) - 1)


def _system(
    problem: Problem, depth: float, rho0: float, replicas: int, seed: int, sigma: float = _SIGMA
) -> RadialSystem:
    settings = validated(
        job="figure",
        out=Path(),
        threads=1,
        depth=depth,
        batch=1,
        sigma=sigma,
        eta_fraction=_LOAD,
        replicas=replicas,
        seed=seed,
    )
    return RadialSystem(settings, problem, named("radial", depth), null_direction(problem, seed), rho0)


def _drift(problem: Problem, depth: float, replicas: int, seed: int) -> FloatArray:
    """Change of ln rho after burn-in near w_mn: mean, standard error and the law's."""
    rho0 = _NEAR * problem.norm_w_mn
    chosen = _system(problem, depth, rho0, replicas, seed)
    burn = int(5 * chosen.relaxation_steps(rho0))
    rate = max(abs(chosen.law.log_rate(rho0, chosen.eta)), _CHANGE / 3e5)
    steps = np.array([0, burn, burn + max(int(_CHANGE / rate), 4 * burn)])
    rho = chosen.simulate(chosen.states_on_manifold(), Constant(chosen.eta), steps, lambda _: None)["rho_slow"]
    law = chosen.law.path(rho0, Constant(chosen.eta), steps).rho
    mean, sem = mean_and_sem(np.log(rho[2] / rho[1]))
    return np.array([mean, sem, np.log(law[2] / law[1])])


def _check(found: FloatArray, n: int, depth: float, critical: float) -> Check:
    mean, sem, law = map(float, found)
    return Check(
        "C5",
        f"change of ln rho near w_mn, n = {n}, D = {depth:g}",
        law,
        mean,
        sem,
        Margin(resolution=0.6 * _CHANGE),
        critical,
    )


def _resting(problem: Problem, replicas: int, small: bool, seed: int):  # type: ignore[no-untyped-def]
    """rho from above and below the resting point of D = 3, n = 2, the law's paths, and the check of where it ends."""
    pilot = _system(problem, 3.0, 2.0 * problem.norm_w_mn, replicas, seed)
    rest = pilot.manifold.flattest_rho(10 * problem.norm_w_mn)
    steps, paths, laws = None, [], []
    for factor in (2.2, 0.3):
        chosen = _system(problem, 3.0, factor * rest, replicas, seed, sigma=3 * _SIGMA)
        if steps is None:
            total = chosen.law.steps_between(factor * rest, 1.003 * chosen.resting_rho, chosen.eta)
            steps = np.linspace(0, total, 60 if small else 150).astype(np.int64)
        paths.append(
            chosen.simulate(chosen.states_on_manifold(), Constant(chosen.eta), steps, lambda _: None)["rho_slow"]
            / problem.norm_w_mn
        )
        laws.append(chosen.law.path(factor * rest, Constant(chosen.eta), steps).rho / problem.norm_w_mn)
    mean, sem = mean_and_sem(np.concatenate([path[-1] for path in paths]))
    law = float(np.mean([law[-1] for law in laws]))
    check = Check(
        "C5",
        "rho at rest / |w_mn|, n = 2, D = 3",
        law,
        float(mean),
        float(sem),
        Margin(resolution=0.05 * law),
        critical_value(1, 2 * replicas),
    )
    variables = {
        "step": var("record", steps, "SGD steps", "step"),
        "path": var(
            "start record moment", np.array([mean_sem(path) for path in paths]), "rho / |w_mn|, mean and standard error"
        ),
        "path_law": var("start record", np.array(laws), "rho / |w_mn| by the law"),
        "rest": var("", rest / problem.norm_w_mn, "rho / |w_mn| of the flattest point, small eta"),
    }
    return variables, check


def caption(data: xarray.Dataset) -> str:
    """How many signs agree, and the resting point."""
    drift = data["drift"].values
    clear = np.abs(drift[..., 0]) > 3 * drift[..., 1]
    right = np.sign(drift[..., 0]) == np.sign(drift[..., 2])
    a = data.attrs
    end = data["path"].values[0, -1]
    return (
        "When the minimum-norm solution is selected (C5): exactly where (D + 1)|y|² ≤ |X|²|w_mn|², deeper models "
        "need more data. The simulated drift next to w_mn has "
        f"the predicted sign in {int(np.sum(right & clear))} of the {int(np.sum(clear))} settings where it exceeds "
        "three standard errors. At n = 2, D = 3 the drift stops at "
        f"ρ = {end[0]:.3f} ± {end[1]:.1g} |w_mn|, by the law {data['path_law'].values[0, -1]:.3f}, small-η limit "
        f"{float(data['rest']):.3f}. Nested Gaussian rows, d = {a['d']}, B = 1, η at {_LOAD:.0%} of the "
        f"stability limit; {a['replicas']} runs, bars ± 2 standard errors; {checked(data)}."
    )


def draw(data: xarray.Dataset) -> Figure:
    """The plane, and the approach to a resting point."""
    figure, (plane, rest) = new_figure(1, 2, height=3.1)
    n, boundary = data["n"].values, data["boundary"].values
    plane.step(
        np.append(n - 0.5, n[-1] + 0.5),
        np.append(boundary, boundary[-1]),
        where="post",
        color=COLOURS["law"],
        label="boundary (C5)",
    )
    plane.fill_between(
        np.append(n - 0.5, n[-1] + 0.5),
        1,
        np.append(boundary, boundary[-1]),
        step="post",
        color=COLOURS["law"],
        alpha=0.10,
        linewidth=0,
    )
    drift = data["drift"].values
    grid = np.meshgrid(data["n_simulated"].values, data["depth"].values, indexing="ij")
    towards = drift[..., 0] < -2 * drift[..., 1]
    away = drift[..., 0] > 2 * drift[..., 1]
    kinds = (
        (towards, "v", COLOURS["simulation"], "SGD drifts to $w_{mn}$"),
        (away, "^", "white", "SGD drifts away"),
        (~towards & ~away, "x", COLOURS["reference"], "within 2 s.e. of no drift"),
    )
    for mask, symbol, face, label in kinds:
        if mask.any():
            edge = COLOURS["reference"] if symbol == "x" else COLOURS["simulation"]
            plane.plot(
                grid[0][mask], grid[1][mask], symbol, color=edge, markerfacecolor=face, markersize=5.5, label=label
            )
    plane.set(xlabel="training rows n", ylabel="depth D", ylim=(1, 10.2), xticks=n[::2], title="deeper needs more data")
    plane.legend(loc="upper left", ncols=2, columnspacing=0.8, handletextpad=0.3, borderpad=0)
    _approach(rest, data)
    letter([plane, rest])
    return figure


def _approach(ax, data: xarray.Dataset) -> None:  # type: ignore[no-untyped-def]
    step, at = data["step"].values / 1000, np.linspace(0, data.sizes["record"] - 1, 12).round().astype(int)
    for i, colour in enumerate(("simulation", "second")):
        mean, sem = data["path"].values[i].T
        ax.plot(step, data["path_law"][i], color=COLOURS["law"], label="law" if i == 0 else None)
        markers(ax, step[at], mean[at], sem[at], "SGD from " + ("above", "below")[i], colour=colour)
    ax.axhline(float(data["rest"]), color=COLOURS["reference"], linestyle=":", label="flattest point")
    ax.set(
        xlabel="step / 1000",
        ylabel=r"distance $\rho$ / $|w_{\rm mn}|$",
        title="not selected: the drift stops (n = 2, D = 3)",
    )
    ax.set_ylim(bottom=0)
    ax.legend()
