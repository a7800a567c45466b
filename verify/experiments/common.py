"""What several experiments share: displacements of ln rho, and a model margin measured by the theorem's own order."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from numerics import sgd
from numerics.check import Check, Margin, mean_and_sem
from numerics.problem import Problem
from numerics.schedule import Constant, Schedule
from theory.conditions import Situation
from verify.budget import Budget, replicas_for
from verify.case import Setup
from verify.experiment import sampled

FloatArray = npt.NDArray[np.float64]
THREADS = 2

#: streams of pilots: replica numbers beyond every check's
_PILOT_SEED = 1 << 40
#: relative rounding of an average of float64 numbers that went through up to 1e6 steps
ROUNDING = 1e-9


def log_rho(
    setup: Setup, steps: FloatArray, replicas: int, *, seed: int, schedule: Schedule | None = None
) -> FloatArray:
    """ln rho of the relaxed points at the given steps, ``(steps, R)``."""
    states = setup.model.start(setup.u0, replicas)
    noise = replace(setup.noise, seed=seed)
    table = sgd.simulate(setup.model, states, schedule or Constant(setup.eta), steps, noise=noise, threads=THREADS)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(setup.manifold.relaxed(table["nu"], table["r"])))


def slowest_rate(setup: Setup) -> float:
    """Least decay per step of a residual at the start: eta lambda_min(K) / n."""
    return float(setup.eta * np.linalg.eigvalsh(setup.kernel0)[0] / setup.problem.n)


def horizon(setup: Setup, change: float, *, most: int = 400_000) -> npt.NDArray[np.int64]:
    """Steps 0, burn-in, end: from a stationary fluctuation on until ln rho should have changed by about ``change``."""
    burn = int(np.ceil(8 / slowest_rate(setup)))
    rates = [abs(setup.law.log_rate(setup.rho0 * x, setup.eta)) for x in (1.0, np.exp(-change / 2), np.exp(change / 2))]
    length = change / max(max(rates), change / most)
    return np.array([0, burn, burn + max(int(length), burn)])


def displacement(setup: Setup, steps: FloatArray, replicas: int, seed: int) -> FloatArray:
    """Change of ln rho between the last two steps, ``(R,)``."""
    path = log_rho(setup, steps, replicas, seed=seed)
    return np.asarray(path[-1] - path[-2])


def with_noise(setup: Setup, factor: float) -> Setup:
    """The same setup with sigma multiplied."""
    return replace(setup, sigma=setup.sigma * factor)


def measured_model(error: FloatArray, budget: Budget, *, ratio: float) -> float:
    """Bound on the theorem's first-order remainder, from the errors ``(R,)`` of a run whose small parameter is
    ``ratio`` larger.

    The remainder vanishes in proportion to the small parameter; an error that does not shrink so shows in the check.
    """
    if not np.isfinite(error).all():
        return float("nan")
    mean, sem = mean_and_sem(error)
    return float((abs(mean) + budget.critical(error.size) * sem) / ratio)


Sample = Callable[[Setup, int, int], FloatArray]
Predict = Callable[[Setup], float]


def first_order(
    claim: str,
    quantity: str,
    setup: Setup,
    budget: Budget,
    *,
    predict: Predict,
    sample: Sample,
    resolution: float,
    situation: Situation,
    least: int = 32,
    most: int = 512,
    care: float = 1.0,
) -> Check:
    """Compare replicas with a prediction that is exact as sigma^2 -> 0; the model margin is measured at 4 sigma^2.

    ``sample(setup, replicas, seed)`` gives values ``(R,)``. Sizes come from the coarse run, whose numbers are
    independent; ``care`` > 1 makes them larger where tails are heavy.
    """
    coarse = with_noise(setup, 2.0)
    error = sample(coarse, least, setup.seed + _PILOT_SEED) - predict(coarse)
    margin = Margin(ROUNDING, measured_model(error, budget, ratio=4.0), resolution)
    spread = float(np.std(error, ddof=1)) / 2  # a standard deviation goes with sigma
    replicas = replicas_for(resolution / care, spread, budget, least=least, most=most)
    values = sample(setup, replicas, setup.seed)
    return sampled(claim, quantity, predict(setup), values, margin=margin, budget=budget, situation=situation)


def relabelled(setup: Setup, y: FloatArray) -> Setup:
    """The same setup with other labels."""
    return replace(setup, problem=Problem(setup.problem.X, y, w_star=setup.problem.w_star))
