"""Phase III: after decay the iterate relaxes onto the manifold and aligns with the test minimum (C7)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from numerics.check import Check, Margin, critical_value, mean_and_sem
from numerics.errors import InputError
from numerics.plotting import COLOURS, band, binned, letter, new_figure, points
from numerics.run.phase2 import BURN_IN, LOSS_RESOLUTION, RHO_RESOLUTION, conditions, stability_check
from numerics.run.report import Outcome
from numerics.run.system import System
from numerics.scalar_law import SlowPath
from numerics.schedule import StepDecay

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: relative discrepancy that the check of the relaxation rate undertakes to detect
RATE_RESOLUTION = 0.02
_SHOWN_BEFORE = 3.0  # burn-ins of the large learning rate


def run(system: System, tick: Callable[[int], Any], begin: Callable[[int], Any]) -> Outcome:
    """Simulate from rho0 on the manifold, decay, and relax."""
    system.require_stable()
    decay_at = decay_step(system)
    total = system.settings.steps
    after = relaxation_length(system) if total == "auto" else total - decay_at
    steps = _step_numbers(decay_at, after, system.settings.records)
    schedule = StepDecay(system.eta, decay_at, system.settings.decay_factor)
    law = system.path(schedule, steps) if system.stable else None
    begin(int(steps[-1]))
    states = system.states_on_manifold()
    before, later = steps[steps <= decay_at], steps[steps >= decay_at]
    first = system.simulate(states, schedule, before, tick)
    alive = states[np.isfinite(first["loss"][-1])]
    rate = system.slowest_mode_rate(alive[0]) if len(alive) else (float("nan"), float("nan"))
    second = system.simulate(states, schedule, later, tick)
    simulation = {name: np.concatenate([first[name], second[name][1:]]) for name in first}
    found = [stability_check(simulation)] if law is None else checks(system, law, steps, decay_at, simulation, rate)
    return Outcome(
        system=system,
        eta=system.eta,
        schedule={"steps": int(steps[-1]), "decay_at": decay_at},
        step=steps,
        simulation=simulation,
        law=law,
        checks=found,
        draw=lambda outcome: draw(outcome, decay_at),
        notes=alignment_notes(system, law),
    )


def decay_step(system: System) -> int:
    """As given; else when the large learning rate's fluctuations are stationary, or after a quarter of --steps."""
    given, steps = system.settings.decay_at, system.settings.steps
    if given == "auto":
        burnt_in = int(_SHOWN_BEFORE * BURN_IN * system.relaxation_steps(system.rho0))
        return burnt_in if steps == "auto" else min(burnt_in, steps // 4)
    if steps != "auto" and given >= steps:
        raise InputError("decay-at", given, f"is not below steps = {steps}", "decay earlier, or raise --steps")
    return given


def relaxation_length(system: System) -> int:
    """Steps of the small learning rate: three burn-ins, so that two thirds show the new floor."""
    return int(3 * BURN_IN * system.relaxation_steps(system.rho0) * system.settings.decay_factor)


def _step_numbers(decay_at: int, after: int, records: int) -> IntArray:
    """Records before the decay; after it as many evenly spaced in the logarithm, and four times as many evenly."""
    before = np.linspace(0, decay_at, records // 4 + 1).astype(np.int64)
    log = decay_at + np.geomspace(1, after, records // 4).astype(np.int64)
    even = decay_at + np.linspace(0, after, records + 1).astype(np.int64)
    return np.unique(np.concatenate([before, log, even]))


def checks(
    system: System,
    law: SlowPath,
    steps: IntArray,
    decay_at: int,
    simulation: dict[str, FloatArray],
    rate: tuple[float, float],
) -> list[Check]:
    """C7: the new floor, rho that stays, the rate of relaxation, the final test loss."""
    critical = critical_value(4, system.settings.replicas)
    found = [
        _floor_check(system, law, steps, decay_at, simulation, critical),
        _stay_check(system, law, simulation, critical),
        _rate_check(rate, critical),
    ]
    if system.problem.test_kind is not None:
        found.append(
            final_loss_check(system, law, simulation["test_loss"][-8:].mean(axis=0), critical, "C7", "final test loss")
        )
    return found


def _floor_check(
    system: System, law: SlowPath, steps: IntArray, decay_at: int, simulation: dict[str, FloatArray], critical: float
) -> Check:
    burn_in = BURN_IN * system.relaxation_steps(float(law.rho[-1])) * system.settings.decay_factor
    late = steps >= min(decay_at + burn_in, steps[-1])
    mean, sem = mean_and_sem(np.mean(simulation["loss"][late], axis=0))
    predicted = float(np.mean(law.floor[late]))
    held = conditions(system) | {"longer than the burn-in": bool(steps[-1] >= decay_at + burn_in)}
    model = predicted * float(np.max(np.abs(law.remainder[late])))
    margin = Margin(model=model, resolution=LOSS_RESOLUTION * predicted)
    return Check("C7", "train loss after decay", predicted, float(mean), float(sem), margin, critical, held)


def _stay_check(system: System, law: SlowPath, simulation: dict[str, FloatArray], critical: float) -> Check:
    mean, sem = mean_and_sem(simulation["rho_slow"][-1])
    predicted = float(law.rho[-1])
    margin = Margin(model=abs(predicted * law.remainder[-1]), resolution=RHO_RESOLUTION * predicted)
    return Check("C7", "rho at the end", predicted, float(mean), float(sem), margin, critical, conditions(system))


def _rate_check(rate: tuple[float, float], critical: float) -> Check:
    """Noise-free decay of the slowest residual mode, from a state at the decay step."""
    observed, predicted = rate
    margin = Margin(resolution=RATE_RESOLUTION * predicted)
    return Check("C7", "relaxation rate, n times lambda_min(K)", predicted, observed, 0.0, margin, critical)


def final_loss_check(
    system: System, law: SlowPath, final: FloatArray, critical: float, claim: str, label: str
) -> Check:
    """Final test loss ``(R,)`` against R at the point of the manifold that the law gives, plus its fluctuations."""
    mean, sem = mean_and_sem(final)
    predicted = float(law.test_loss[-1])
    margin = Margin(model=system.test_loss_remainder(law), resolution=RHO_RESOLUTION * predicted)
    return Check(claim, label, predicted, float(mean), float(sem), margin, critical, conditions(system))


def alignment_notes(system: System, law: SlowPath | None) -> list[str]:
    """C5, and the alignment with a known teacher at rho = 0."""
    lines = [system.selection_text()]
    if system.problem.norm_w_star is not None:
        cosine = system.problem.norm_w_mn / system.problem.norm_w_star
        lines.append(f"C7: at rho = 0, cos(w, w_star) = |w_mn| / |w_star| = {cosine:.4f} for clean labels")
    return lines


def draw(outcome: Outcome, decay_at: int) -> "Figure":
    """Train loss, rho and test loss around the decay, and the relaxation on a logarithmic scale."""
    figure, axes = new_figure(2, 2)
    for ax, (name, predicted, label) in zip((axes[0], axes[2], axes[3]), _PANELS, strict=True):
        _draw_around(ax, outcome, decay_at, name, predicted)
        ax.set_ylabel(label)
    if np.any(np.isfinite(outcome.simulation["loss"][1:])):
        axes[0].set_yscale("log")
    axes[0].legend()
    axes[0].set_title("the loss falls to the new floor")
    _draw_relaxation(axes[1], outcome, decay_at)
    axes[2].set_ylim(0, 1.15 * outcome.system.rho0)
    axes[2].set_title("the drift is frozen")
    axes[3].set_title("the test loss settles")
    letter(axes)
    return figure


_PANELS = (("loss", "floor", "train loss"), ("rho_slow", "rho", r"$\rho$"), ("test_loss", "test_loss", "test loss"))


def _draw_around(ax: "Axes", outcome: Outcome, decay_at: int, name: str, predicted: str) -> None:
    """One observable before and after the decay: averages over groups of records on top of the law."""
    if outcome.law is not None:
        ax.plot(outcome.law.step[1:], getattr(outcome.law, predicted)[1:], color=COLOURS["law"], label="law")
    ax.axvline(decay_at, color=COLOURS["reference"], linestyle=":", label="decay")
    label = f"SGD, mean of {outcome.settings.replicas} ± 2 s.e."
    settled = decay_at + 0.05 * (outcome.step[-1] - decay_at)
    for shown, bins in (((outcome.step > 0) & (outcome.step <= decay_at), 8), (outcome.step > settled, 25)):
        if np.any(shown) and np.all(np.isfinite(outcome.simulation[name][shown])):
            x, values = binned(outcome.step[shown].astype(float), outcome.simulation[name][shown], bins)
            points(ax, x, *mean_and_sem(values), label=label, count=bins)
            label = ""
    ax.set_xlabel("SGD step")
    ax.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4))


def _draw_relaxation(ax: "Axes", outcome: Outcome, decay_at: int) -> None:
    after = outcome.step - decay_at
    shown = (after > 0) & (after <= after[-1] // 10)
    mean, sem = outcome.mean("loss")
    band(ax, after[shown], mean[shown], sem[shown], label="SGD")
    if outcome.law is not None:
        ax.plot(after[shown], outcome.law.floor[shown], color=COLOURS["law"], label="new floor")
    if np.any(np.isfinite(mean[shown])):
        ax.set_xscale("log")
        ax.set_yscale("log")
    ax.set_xlabel("steps after the decay")
    ax.set_ylabel("train loss")
    ax.set_title("relaxation")
    ax.legend()
