"""Phase II: the large learning rate drifts along the manifold of minima (C2-C6)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from numerics.check import Check, Margin, critical_value, mean_and_sem
from numerics.plotting import COLOURS, band, binned, letter, new_figure, points
from numerics.run.report import Outcome
from numerics.run.system import RadialSystem, System
from numerics.scalar_law import SlowPath
from numerics.schedule import Constant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: relative discrepancies that the checks undertake to detect
RHO_RESOLUTION = 0.02
LOSS_RESOLUTION = 0.05
TIME_RESOLUTION = 0.04

#: the law is the leading term of an expansion; above this relative size of the next ones it makes no claim
LARGEST_REMAINDER = 0.1

#: relaxation times of the slowest residual mode until the fluctuations count as stationary
BURN_IN = 5
_CHECKED_SHARES = (0.25, 0.5, 0.75, 1.0)


def run(system: System, tick: Callable[[int], Any], begin: Callable[[int], Any]) -> Outcome:
    """Simulate and predict Phase II from rho0 on the manifold. begin is told the number of steps, tick those done."""
    system.require_stable()
    total = system.duration()
    steps = np.unique(np.linspace(0, total, system.settings.records + 1).astype(np.int64))
    schedule = Constant(system.eta)
    law = system.path(schedule, steps) if system.stable else None
    begin(total)
    simulation = system.simulate(system.states_on_manifold(), schedule, steps, tick)
    return Outcome(
        system=system,
        eta=system.eta,
        schedule={"steps": total, "decay_at": None},
        step=steps,
        simulation=simulation,
        law=law,
        checks=checks(system, law, steps, simulation),
        draw=draw,
        notes=notes(system, law),
    )


def notes(system: System, law: SlowPath | None) -> list[str]:
    """C5 in one line, and how far the small-eta limit is off."""
    lines = [system.selection_text()]
    if law is None:
        return [*lines, "C9: eta exceeds the stability limit: the law does not exist here"]
    worst = float(np.max(np.abs(np.log(law.rho_small_eta / law.rho))))
    return [*lines, f"the small-eta limit of the law is off by up to {np.expm1(worst):.1%} in rho here"]


def checks(system: System, law: SlowPath | None, steps: IntArray, simulation: dict[str, FloatArray]) -> list[Check]:
    """C9 where the law does not exist; else C4 (C3) along the path, C2, C5 and C6."""
    if law is None:
        return [stability_check(simulation)]
    critical = critical_value(len(_CHECKED_SHARES) + 3, system.settings.replicas)
    indices = [int(np.searchsorted(steps, share * steps[-1])) for share in _CHECKED_SHARES]
    found = [rho_check(system, law, steps, simulation, i, critical) for i in indices]
    found.append(floor_check(system, law, steps, simulation, critical))
    if isinstance(system, RadialSystem):
        found.append(_resting_check(system, law, simulation, critical))
        found.append(_time_check(system, law, steps, simulation, critical))
    return found


def stability_check(simulation: dict[str, FloatArray]) -> Check:
    """C9: above the limit replicas leave the neighbourhood of the manifold."""
    left = float(np.mean(~np.isfinite(simulation["loss"][-1])))
    conditions = {"eta below the stability limit": False}
    return Check("C9", "share of replicas that diverged", float("nan"), left, 0.0, Margin(), 0.0, conditions)


def conditions(system: System) -> dict[str, bool]:
    """What the law asks for."""
    return {
        "sigma > 0": system.settings.sigma > 0,
        "eta below the stability limit": system.stable,
    }


def small_remainder(law: SlowPath, i: int) -> dict[str, bool]:
    """Whether the terms that the law neglects are small up to record i."""
    return {"label noise small for this K": bool(abs(law.remainder[i]) < LARGEST_REMAINDER)}


def rho_check(
    system: System, law: SlowPath, steps: IntArray, simulation: dict[str, FloatArray], i: int, critical: float
) -> Check:
    """rho at one step against the law: C4 for radial parametrizations, C3 otherwise."""
    mean, sem = mean_and_sem(simulation["rho_slow"][i])
    predicted = float(law.rho[i])
    margin = Margin(
        rounding=1e-9 * predicted, model=abs(predicted * law.remainder[i]), resolution=RHO_RESOLUTION * predicted
    )
    claim = "C4" if isinstance(system, RadialSystem) else "C3"
    quantity = f"rho at step {steps[i]:,}"
    held = conditions(system) | small_remainder(law, i)
    return Check(claim, quantity, predicted, float(mean), float(sem), margin, critical, held)


def floor_check(
    system: System, law: SlowPath, steps: IntArray, simulation: dict[str, FloatArray], critical: float
) -> Check:
    """Train loss after the burn-in, averaged, against the floor that moves along the path (C2)."""
    burn_in = BURN_IN * system.relaxation_steps(float(law.rho[-1]))
    late = steps >= min(steps[0] + burn_in, steps[-1])
    mean, sem = mean_and_sem(np.mean(simulation["loss"][late], axis=0))
    predicted = float(np.mean(law.floor[late]))
    held = conditions(system) | {"longer than the burn-in": bool(steps[-1] - steps[0] > 2 * burn_in)}
    model = predicted * float(np.max(np.abs(law.remainder[late])))
    margin = Margin(model=model, resolution=LOSS_RESOLUTION * predicted)
    quantity = "train loss after the burn-in"
    return Check("C2", quantity, predicted, float(mean), float(sem), margin, critical, held)


def _resting_check(system: RadialSystem, law: SlowPath, simulation: dict[str, FloatArray], critical: float) -> Check:
    """The drift never passes the point where it has to stop (C5)."""
    mean, sem = mean_and_sem(simulation["rho_slow"][-1])
    margin = Margin(
        rounding=1e-9 * system.rho0, resolution=RHO_RESOLUTION * max(system.resting_rho, float(law.rho[-1]))
    )
    quantity = "rho at the end, not below where the drift stops"
    held = conditions(system)
    return Check("C5", quantity, system.resting_rho, float(mean), float(sem), margin, critical, held, side="lower")


def _time_check(
    system: RadialSystem, law: SlowPath, steps: IntArray, simulation: dict[str, FloatArray], critical: float
) -> Check:
    """Steps to the middle of the way, in ln rho, against the quadrature of 1/|d rho/dk| (C6)."""
    target = float(np.sqrt(law.rho[0] * law.rho[-1]))
    held = conditions(system) | small_remainder(law, -1) | {"rho falls": bool(law.rho[-1] < 0.95 * law.rho[0])}
    quantity = f"steps until rho = {target:.4g}"
    if not all(held.values()):
        return Check("C6", quantity, float("nan"), float("nan"), float("nan"), Margin(), critical, held)
    predicted = system.law.steps_between(system.rho0, target, system.eta)
    times = _crossing_times(steps, simulation["rho_slow"], target)
    mean, sem = mean_and_sem(times)
    middle = int(np.argmin(np.abs(law.rho - target)))
    slope = abs(system.law.log_rate(target, system.eta))
    model = float(abs(law.remainder[middle])) / slope + (steps[1] - steps[0]) * 0.05
    margin = Margin(model=model, resolution=TIME_RESOLUTION * predicted)
    return Check("C6", quantity, predicted, float(mean), float(sem), margin, critical, held)


def _crossing_times(steps: IntArray, rho: FloatArray, target: float) -> FloatArray:
    """First crossing of target per replica, linear in ln rho between records; NaN where there is none."""
    below = rho <= target
    times = np.full(rho.shape[1], np.nan)
    for j in range(rho.shape[1]):
        hits = np.flatnonzero(below[:, j])
        if len(hits) and hits[0] > 0:
            i = hits[0]
            high, low = np.log(rho[i - 1, j]), np.log(rho[i, j])
            times[j] = steps[i - 1] + (steps[i] - steps[i - 1]) * (high - np.log(target)) / (high - low)
    return times


def draw(outcome: Outcome) -> "Figure":
    """rho, its discrepancy from the law, train loss and test loss against steps: simulation as band, law as line."""
    figure, axes = new_figure(2, 2)
    panels: list[Callable[[Axes, Outcome], None]] = [draw_rho, _draw_discrepancy, draw_loss, draw_test_loss]
    for ax, panel in zip(axes, panels, strict=True):
        panel(ax, outcome)
        ax.set_xlabel("SGD step")
        ax.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4))
    letter(axes)
    return figure


def draw_rho(ax: "Axes", outcome: Outcome) -> None:
    """rho against steps."""
    if outcome.law is not None:
        ax.plot(outcome.law.step, outcome.law.rho, color=COLOURS["law"], label=r"law, any $\eta$ and $B$")
        small = outcome.law.rho_small_eta
        ax.plot(outcome.law.step, small, color=COLOURS["small-eta"], linestyle="--", label=r"its limit $\eta \to 0$")
    points(ax, outcome.step, *outcome.mean("rho_slow"), label=f"SGD, mean of {outcome.settings.replicas} ± 2 s.e.")
    ax.set_ylim(bottom=0)
    ax.set_title("distance from the minimum-norm solution")
    ax.set_ylabel(r"$\rho = |P_N w|$")
    ax.legend()


def _draw_discrepancy(ax: "Axes", outcome: Outcome) -> None:
    ax.set_title("the same, relative to the law")
    ax.set_ylabel(r"$\rho / \rho_{\mathrm{law}} - 1$  [%]")
    if outcome.law is None:
        return
    mean, sem = outcome.mean("rho_slow")
    law = outcome.law
    band(ax, outcome.step, 100 * (mean / law.rho - 1), 100 * sem / law.rho, label="SGD")
    ax.axhline(0, color=COLOURS["law"])
    reach = 100 * max(float(np.nanmax(np.abs(mean / law.rho - 1) + 3 * sem / law.rho)), 1e-6)
    ax.set_ylim(-1.6 * reach, 1.6 * reach)
    off = 100 * (law.rho_small_eta[-1] / law.rho[-1] - 1)
    ax.text(0.97, 0.95, rf"$\eta \to 0$ ends at {off:+.0f} %", transform=ax.transAxes, ha="right", va="top",
            color=COLOURS["small-eta"])  # fmt: skip


def draw_loss(ax: "Axes", outcome: Outcome) -> None:
    """Train loss against steps, at its floor: averages over groups of records."""
    # the start lies exactly on the manifold: left out
    x, values = binned(outcome.step[1:].astype(float), outcome.simulation["loss"][1:], 40)
    if outcome.law is not None:
        ax.plot(outcome.law.step, outcome.law.floor, color=COLOURS["law"], label="floor by the law")
        ax.plot(outcome.law.step, outcome.law.floor_small_eta, color=COLOURS["small-eta"], linestyle="--")
    points(ax, x, *mean_and_sem(values), label="SGD", count=40)
    ax.set_ylim(bottom=0)
    ax.set_title("train loss: at its floor")
    ax.set_ylabel("train loss")


def draw_test_loss(ax: "Axes", outcome: Outcome) -> None:
    """Test loss against steps."""
    ax.set_title("test loss: still moves")
    ax.set_ylabel("test loss")
    if outcome.system.problem.test_kind is None:
        ax.set_title("test loss: none (no w_star, no held-out rows)")
        return
    if outcome.law is not None:
        ax.plot(outcome.law.step, outcome.law.test_loss, color=COLOURS["law"])
    points(ax, outcome.step, *outcome.mean("test_loss"), label="SGD")
    reference = float(outcome.system.problem.test_loss(outcome.system.problem.w_mn))
    ax.axhline(reference, color=COLOURS["reference"], linestyle=":", label="at the minimum-norm solution")
    ax.legend()
