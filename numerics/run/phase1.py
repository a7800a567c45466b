"""Phase I: from a random start the train loss falls to its floor (C1, C2)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from numerics.check import Check, Margin, critical_value, mean_and_sem
from numerics.gradient_flow import Flow
from numerics.plotting import COLOURS, band, binned, letter, new_figure, points
from numerics.run.phase2 import LOSS_RESOLUTION, conditions, stability_check
from numerics.run.report import Outcome
from numerics.run.system import System
from numerics.scalar_law import SlowPath
from numerics.schedule import Constant

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: steps after saturation, in units of the longest that saturation may take: they show the floor
_AFTER = 3.0
_SHORTEST = 20_000
_SEARCHES = 24
_LAW_POINTS = 100


def run(system: System, tick: Callable[[int], Any], begin: Callable[[int], Any]) -> Outcome:
    """Simulate Phase I from a random start with |w| = rho0, and bound it by gradient flow."""
    system.require_stable()
    states = system.random_states()
    flow = _flow_to_floor(system, states[0])
    bound = _longest_saturation(system, flow)
    total = max(int((1 + _AFTER) * bound), _SHORTEST) if system.settings.steps == "auto" else system.settings.steps
    steps = _step_numbers(total, system.settings.records)
    schedule = Constant(system.eta)
    begin(total)
    split = steps[np.searchsorted(steps, min(bound, total // 2))]
    falling = system.simulate(states, schedule, steps[steps <= split], tick)
    law = _law_after(system, states, steps[steps >= split]) if system.stable else None
    at_floor = system.simulate(states, schedule, steps[steps >= split], tick)
    simulation = {name: np.concatenate([falling[name], at_floor[name][1:]]) for name in falling}
    found = [stability_check(simulation)] if law is None else checks(system, flow, bound, steps, simulation, law)
    time = flow.time / system.eta
    return Outcome(
        system=system,
        eta=system.eta,
        schedule={"steps": total, "decay_at": None},
        step=steps,
        simulation=simulation,
        law=law,
        checks=found,
        draw=draw,
        notes=[system.selection_text()],
        curves={
            "gradient_flow_loss": (time, flow.loss),
            "saturation_bound": (time, flow.loss[0] * np.exp(-2 * flow.slowest_rate * flow.time)),
        },
    )


def _law_after(system: System, states: FloatArray, steps: IntArray) -> SlowPath:
    """The law from where saturation leaves the replicas, at no more than a hundred of the steps."""
    chosen = steps[np.unique(np.linspace(0, len(steps) - 1, _LAW_POINTS).astype(np.int64))]
    return system.path_after(states, chosen)


def _step_numbers(total: int, records: int) -> IntArray:
    """Records spaced evenly in the logarithm, to see the fall, and twice as many evenly, to measure the floor."""
    log = np.geomspace(1, total, records // 2).astype(np.int64)
    even = np.linspace(0, total, 2 * records + 1).astype(np.int64)
    return np.union1d(log, even)


def _flow_to_floor(system: System, state: FloatArray) -> Flow:
    """Gradient flow, followed until its loss is below the floor of SGD."""
    duration = 20 * system.eta
    for _ in range(_SEARCHES):
        times = np.concatenate([[0.0], np.geomspace(duration * 1e-5, duration, 240)])
        flow = system.flow(state, times)
        if flow.loss[-1] < 0.1 * _floor(system, flow):
            return flow
        duration *= 3
    return flow


def _floor(system: System, flow: Flow) -> float:
    """The floor at the flow's end; a millionth of the start where there is no noise."""
    found = system.floor_at(flow) if system.stable else 0.0
    return found if found > 0 else 1e-6 * float(flow.loss[0])


def _longest_saturation(system: System, flow: Flow) -> float:
    """C1 in steps: ln(L_0 / L_floor) / (2 mu eta)."""
    return float(np.log(flow.loss[0] / _floor(system, flow)) / (2 * flow.slowest_rate * system.eta))


def checks(
    system: System,
    flow: Flow,
    bound: float,
    steps: IntArray,
    simulation: dict[str, FloatArray],
    law: SlowPath,
) -> list[Check]:
    """C1 on the flow and on SGD, C2 after saturation."""
    critical = critical_value(3, system.settings.replicas)
    excess = (np.log(flow.loss / flow.loss[0]) + 2 * flow.slowest_rate * flow.time)[1:]
    along = Check(
        "C1",
        "gradient flow: max ln(L / bound)",
        0.0,
        float(np.max(excess)),
        0.0,
        Margin(rounding=1e-6),
        critical,
        side="upper",
    )
    return [
        along,
        _saturation_check(system, bound, steps, simulation, law, critical),
        _floor_check(system, steps, simulation, law, critical),
    ]


def _saturation_check(
    system: System,
    bound: float,
    steps: IntArray,
    simulation: dict[str, FloatArray],
    law: SlowPath,
    critical: float,
) -> Check:
    """The first record at which each replica's loss is at its floor comes before the bound."""
    reached = simulation["loss"] <= law.floor[0]
    first = np.where(reached.any(axis=0), steps[np.argmax(reached, axis=0)].astype(float), np.inf)
    mean, sem = mean_and_sem(first)
    margin = Margin(rounding=1.0, model=float(np.max(np.diff(steps))))
    return Check(
        "C1",
        "steps until the loss is at its floor",
        bound,
        float(mean),
        float(sem),
        margin,
        critical,
        conditions(system),
        side="upper",
    )


def _floor_check(
    system: System,
    steps: IntArray,
    simulation: dict[str, FloatArray],
    law: SlowPath,
    critical: float,
) -> Check:
    late = steps >= law.step[0]
    predicted = float(np.mean(np.interp(steps[late], law.step, law.floor)))
    mean, sem = mean_and_sem(np.mean(simulation["loss"][late], axis=0))
    margin = Margin(resolution=LOSS_RESOLUTION * predicted)
    return Check(
        "C2",
        "train loss after saturation",
        predicted,
        float(mean),
        float(sem),
        margin,
        critical,
        conditions(system),
    )


def draw(outcome: Outcome) -> "Figure":
    """Train loss against steps, on a logarithmic and on a linear scale of time."""
    figure, axes = new_figure(1, 2, height=3.0)
    step, (mean, sem) = outcome.step, outcome.mean("loss")
    floor_from = outcome.step[-1] // 2 if outcome.law is None else outcome.law.step[0]
    falling = (step > 0) & (step <= floor_from)
    band(
        axes[0], step[falling], mean[falling], sem[falling], label=f"SGD, mean of {outcome.settings.replicas} ± 2 s.e."
    )
    for name, style, label in (("saturation_bound", ":", "bound (C1)"), ("gradient_flow_loss", "--", "gradient flow")):
        x, y = outcome.curves[name]
        shown = (x >= 1) & (y > 0.3 * np.nanmin(mean[1:]))
        axes[0].plot(x[shown], y[shown], style, color=COLOURS["reference"], label=label)
    axes[0].set_xscale("log")
    axes[0].set_yscale("log")
    axes[0].set_title("the loss saturates ...")
    late = step >= floor_from
    x, values = binned(step[late].astype(float), outcome.simulation["loss"][late], 30)
    points(axes[1], x, *mean_and_sem(values), label="SGD", count=30)
    if np.any(np.isfinite(values)):
        axes[1].set_ylim(0, 2 * float(np.nanmean(values)))
    axes[1].set_title("... at the predicted floor")
    for ax in axes:
        if outcome.law is not None:
            ax.plot(outcome.law.step, outcome.law.floor, color=COLOURS["law"], label="floor by the law (C2)")
        ax.set_xlabel("SGD step")
        ax.set_ylabel("train loss")
        ax.legend()
    letter(axes)
    return figure
