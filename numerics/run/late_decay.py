"""Late decay: one trunk at the large learning rate, decays branched off it at many steps (C8)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from numerics.check import Check, Margin, critical_value, mean_and_sem
from numerics.errors import InputError
from numerics.plotting import COLOURS, letter, new_figure, points
from numerics.run.phase2 import conditions, stability_check
from numerics.run.phase3 import final_loss_check, relaxation_length
from numerics.run.report import Branch, Outcome
from numerics.run.system import System
from numerics.schedule import Constant, StepDecay

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_BRANCHES = 9
_EARLIEST = 0.01  # of the trunk: the first decay step after 0
_FINAL_RECORDS = 16  # over the last fifth of a branch, averaged per replica


def run(system: System, tick: Callable[[int], Any], begin: Callable[[int], Any]) -> Outcome:
    """Run the trunk from rho0, branch decays off it, compare final test losses with C8."""
    if system.problem.test_kind is None:
        remedy = "give w_star, or X_test and y_test, or --n below the file's rows"
        raise InputError("test loss", "none", "leaves nothing to compare", remedy)
    system.require_stable()
    total, after = system.duration(), relaxation_length(system)
    decays = decay_steps(system, total)
    steps = np.union1d(np.linspace(0, total, system.settings.records + 1).astype(np.int64), decays)
    begin(total + len(decays) * after)
    trunk, states = _trunk(system, steps, decays, tick)
    law = system.path(Constant(system.eta), steps) if system.stable else None
    branches = [] if law is None else [_branch(system, k, after, states[k], tick) for k in decays.tolist()]
    found = [stability_check(trunk)] if law is None else checks(system, branches)
    return Outcome(
        system=system,
        eta=system.eta,
        schedule={"steps": total, "decay_at": decays.tolist(), "steps_after_decay": after},
        step=steps,
        simulation=trunk,
        law=law,
        checks=found,
        draw=draw,
        notes=notes(system, branches),
        late_decay=late_decay_record(branches),
        branches=branches,
    )


def decay_steps(system: System, total: int) -> IntArray:
    """0 and steps evenly spaced in the logarithm up to the trunk's end; a --decay-at joins them."""
    steps = np.append(0, np.geomspace(_EARLIEST * total, total, _BRANCHES - 1)).astype(np.int64)
    if system.settings.decay_at == "auto":
        return np.unique(steps)
    if system.settings.decay_at > total:
        rule = f"lies beyond the trunk of {total} steps"
        raise InputError("decay-at", system.settings.decay_at, rule, "raise --steps or decay earlier")
    return np.union1d(steps, [system.settings.decay_at])


def _trunk(
    system: System, steps: IntArray, decays: IntArray, tick: Callable[[int], Any]
) -> tuple[dict[str, FloatArray], dict[int, FloatArray]]:
    """Observables along the trunk, and the states at the decay steps."""
    states, schedule = system.states_on_manifold(), Constant(system.eta)
    tables: list[dict[str, FloatArray]] = []
    kept, at = {int(decays[0]): states.copy()}, int(steps[0])
    for stop in np.unique(np.append(decays[decays > at], steps[-1])).tolist():
        piece = system.simulate(states, schedule, steps[(steps >= at) & (steps <= stop)], tick)
        tables.append(piece if not tables else {name: values[1:] for name, values in piece.items()})
        kept[stop], at = states.copy(), stop
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}, kept


def _branch(system: System, decay_at: int, after: int, states: FloatArray, tick: Callable[[int], Any]) -> Branch:
    schedule = StepDecay(system.eta, decay_at, system.settings.decay_factor)
    end = decay_at + after
    steps = np.unique(np.append(decay_at, np.linspace(end - after // 5, end, _FINAL_RECORDS).astype(np.int64)))
    simulation = system.simulate(states, schedule, steps, tick)
    law = system.path(schedule, np.unique([0, decay_at, end]))
    return Branch(decay_at, law, simulation["test_loss"][1:].mean(axis=0))


def late_decay_record(branches: list[Branch]) -> dict[str, FloatArray]:
    """The `late_decay` block of summary.json."""
    pairs = [mean_and_sem(branch.final) for branch in branches]
    return {
        "decay_step": np.array([branch.decay_at for branch in branches]),
        "test_loss_mean": np.array([float(mean) for mean, _ in pairs]),
        "test_loss_sem": np.array([float(sem) for _, sem in pairs]),
        "test_loss_law": np.array([branch.law.test_loss[-1] for branch in branches]),
        "rho_law": np.array([branch.law.rho[-1] for branch in branches]),
    }


def checks(system: System, branches: list[Branch]) -> list[Check]:
    """C8: every branch's final test loss; the rise after the best decay is within its bound."""
    critical = critical_value(len(branches) + 1, system.settings.replicas)
    found = [
        final_loss_check(system, b.law, b.final, critical, "C8", f"final test loss, decay at {b.decay_at:,}")
        for b in branches
    ]
    best = min(branches, key=lambda branch: float(np.mean(branch.final)))
    mean, sem = mean_and_sem(branches[-1].final - best.final)  # paired: the same noise up to the earlier decay
    bound = system.largest_rise()
    margin = Margin(model=system.test_loss_remainder(best.law))
    rise = Check("C8", "rise of the test loss after the best decay", bound, float(mean), float(sem), margin, critical,
                 conditions(system), side="upper")  # fmt: skip
    return [*found, rise]


def notes(system: System, branches: list[Branch]) -> list[str]:
    """C5, and what the latest decay gains."""
    lines = [system.selection_text()]
    if branches:
        record = late_decay_record(branches)
        loss, step = record["test_loss_law"], record["decay_step"]
        best = int(np.argmin(loss))
        lines.append(
            f"C8: by the law the test loss after decay goes from {loss[0]:.4g} (decay at step 0) to {loss[-1]:.4g} "
            f"(at {step[-1]:,}); lowest {loss[best]:.4g} at {step[best]:,}"
        )
    return lines


def draw(outcome: Outcome) -> "Figure":
    """Final test loss against decay step, beside the trunk's."""
    figure, axes = new_figure(1, 2, height=3.0)
    _draw_branches(axes[0], outcome)
    if outcome.law is not None:
        axes[1].plot(outcome.law.step, outcome.law.test_loss, color=COLOURS["law"], label="law")
    points(axes[1], outcome.step, *outcome.mean("test_loss"), label="SGD")
    axes[1].set_title("the trunk, before any decay")
    axes[1].set_xlabel("SGD step")
    axes[1].set_ylabel("test loss")
    axes[1].ticklabel_format(axis="x", style="sci", scilimits=(-3, 4))
    letter(axes)
    return figure


def _draw_branches(ax: "Axes", outcome: Outcome) -> None:
    """A decay at step 0 is shown at the left edge of the logarithmic axis."""
    record = outcome.late_decay or {}
    ax.set_title("final test loss against decay step")
    ax.set_xlabel("decay step (leftmost: 0)")
    ax.set_ylabel("test loss after decay")
    if len(record.get("decay_step", ())) < 2:
        return
    x = np.maximum(record["decay_step"], record["decay_step"][1] / 3)
    ax.plot(x, record["test_loss_law"], color=COLOURS["law"], label="law")
    label = f"SGD, mean of {outcome.settings.replicas} ± 2 s.e."
    points(ax, x, record["test_loss_mean"], record["test_loss_sem"], label=label, count=len(x))
    at_rest = float(outcome.system.problem.test_loss(outcome.system.problem.w_mn))
    ax.axhline(at_rest, color=COLOURS["reference"], linestyle=":", label="minimum-norm solution")
    ax.set_xscale("log")
    ax.legend()
