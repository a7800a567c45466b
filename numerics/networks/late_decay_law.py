"""The late-decay curve of a trained trunk by the slow law C3: no branch is trained, and none of SGD's steps is taken.

For each seed the law starts where the trunk is at the first decay after saturation, projected on M, and says where
every later decay would end. The branches that were trained are only compared with it.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from numerics.check import Check, Margin, critical_value
from numerics.errors import InputError
from numerics.networks.branches import Report, Run, clean_measures
from numerics.networks.data import Array
from numerics.networks.late_decay import Experiment
from numerics.networks.late_decay_figure import LateDecay
from numerics.networks.slow_law import Setting, integrate

#: relative difference of Euler and Heun steps; the error of the path is about its square
TOLERANCE = 0.05
#: relative error of a test loss that the checks undertake to detect
RESOLUTION = 0.02


@dataclass(frozen=True)
class Prediction:
    """Test loss after a decay at ``steps (k,)``: the law's and the branches' ``(k, seeds)``.

    ``quasistatic``: the largest ratio of drift to relaxation on the way, the law's own condition.
    """

    steps: Array
    predicted: Array
    simulated: Array
    quasistatic: float

    def checks(self) -> list[Check]:
        """One check per decay step after the first, on the differences paired by seed."""
        count = len(self.steps) - 1
        critical = critical_value(count, self.predicted.shape[1])
        return [self._check(k, critical) for k in range(1, count + 1)]

    def _check(self, k: int, critical: float) -> Check:
        law, runs = self.predicted[k], self.simulated[k]
        sem = float((runs - law).std(ddof=1) / np.sqrt(len(law)))
        margin = Margin(resolution=RESOLUTION * float(law.mean()))
        quantity = f"test loss after a decay at step {self.steps[k]:.0f}"
        conditions = {"drift slower than relaxation": self.quasistatic < 1}
        return Check("C3", quantity, float(law.mean()), float(runs.mean()), sem, margin, critical, conditions)


def require_conditions(experiment: Experiment) -> None:
    """Raise InputError unless C3 covers the experiment: squared loss, fresh Gaussian noise, plain SGD on a smooth f."""
    chosen = experiment.configuration
    smooth = chosen.architecture.activation != "relu" and chosen.architecture.kind == "mlp"
    demands = (
        ("loss", chosen.loss, chosen.loss == "squared", "use a configuration with squared loss"),
        ("noise", "flips" if chosen.flip else chosen.noise, not chosen.flip and chosen.noise > 0, "pass --noise 0.2"),
        ("momentum", chosen.momentum, chosen.momentum == 0, "pass --momentum 0"),
        ("weight decay", chosen.weight_decay, chosen.weight_decay == 0, "pass --weight-decay 0"),
        ("sampling", "epochs", not chosen.epochs, "use a configuration that draws with replacement"),
        ("network", f"{chosen.architecture.activation} {chosen.architecture.kind}", smooth, "pass --activation tanh"),
        ("kinds", ",".join(experiment.names), "fresh" in experiment.names, "name fresh among --kinds"),
    )
    for name, value, holds, remedy in demands:
        if not holds:
            raise InputError(name, value, "is outside the conditions of the law (C3)", remedy)


def predict(experiment: Experiment, data: LateDecay, report: Report) -> Prediction:
    """The law's curve for every seed, from saturation on, beside the branches. Raises InputError outside conditions."""
    require_conditions(experiment)
    if not data.settled:
        raise InputError("decay step", data.saturated, "comes before saturation: no point of M", "pass --last-decay")
    run, place = experiment.find("fresh")
    steps = data.steps[data.steps >= data.saturated].astype(float)
    curves = [_curve(run, place, seed, steps, report) for seed in range(len(run.plan.seeds))]
    predicted = np.stack([curve for curve, _ in curves], axis=1)
    simulated = data.final["fresh"][data.steps >= data.saturated]
    return Prediction(steps, predicted, simulated, max(ratio for _, ratio in curves))


def _curve(run: Run, place: int, seed: int, steps: Array, report: Report) -> tuple[Array, float]:
    """One seed's final test losses ``(k,)`` by the law, and its largest quasistatic ratio."""
    plan, examples = run.plan, run.examples
    x = torch.as_tensor(examples.x, dtype=torch.float64)
    y = torch.as_tensor(examples.targets(examples.labels), dtype=torch.float64)
    setting = Setting(run.model, x, y, plan.eta, plan.recipe.batch or len(x), plan.noise)
    start = run.trunk_weights(int(steps[0]))[place, seed].double()
    trunk = integrate(
        setting, start, steps, tolerance=TOLERANCE, report=lambda line: report(f"seed {plan.seeds[seed]}, {line}")
    )
    small = replace(setting, eta=plan.eta / plan.factor)
    span = np.array([0.0, float(plan.branch_steps)])
    ends = torch.stack([integrate(small, theta, span, tolerance=TOLERANCE).theta[-1] for theta in trunk.theta])
    return clean_measures(run, ends, held_out=True)[0], float(trunk.quasistatic.max())


def lines(found: Prediction) -> list[str]:
    """Curve and checks as text."""
    text = [
        "\nlaw (C3), no branch trained, against the branches: test loss after decay, mean over seeds "
        f"(quasistatic ratio at most {found.quasistatic:.3f})"
    ]
    for step, law, runs in zip(found.steps, found.predicted, found.simulated, strict=True):
        sem = (runs - law).std(ddof=1) / np.sqrt(len(law))
        off = law.mean() / runs.mean() - 1
        text.append(f"  {step:9.0f}  {law.mean():.4f}  {runs.mean():.4f} ± {sem:.4f} (paired)  {off:+.2%}")
    checks = found.checks()
    agree, differ = (sum(check.verdict == verdict for check in checks) for verdict in ("pass", "fail"))
    text.append(
        f"  within {RESOLUTION:.0%} at {agree} of {len(checks)} decay steps, outside at {differ}, not decided (too few "
        f"seeds, or outside conditions) at {len(checks) - agree - differ}"
    )
    return text
