"""C11: cross-entropy with freshly flipped labels."""

from dataclasses import replace

import numpy as np

from numerics import sgd
from numerics.check import Check, Margin
from numerics.classification_law import FlipLaw, flip_law
from numerics.dynamics import Variant, VariantSGD, compact
from numerics.problem import Problem
from numerics.schedule import Constant
from theory.conditions import Situation
from verify.budget import Budget
from verify.case import Case, Setup
from verify.experiment import Control, Experiment, sampled
from verify.experiments.common import THREADS, measured_model, slowest_rate

FLIP, CHANGE, RESOLUTION = 0.2, 0.3, 0.1


def labelled(setup: Setup) -> Problem:
    """The setup's inputs with labels sign(y)."""
    labels = np.where(setup.problem.y >= 0, 1.0, -1.0)
    return Problem(setup.problem.X, labels, w_star=setup.problem.w_star)


def equivalent(setup: Setup, flip: float = FLIP) -> tuple[Setup, FlipLaw]:
    """The squared-loss setup that the claim says is equivalent, on the targets; eta is its share of its own limit."""
    law = flip_law(labelled(setup), setup.parametrization, flip=flip, batch=setup.batch)
    rho0 = setup.rho0 / setup.problem.norm_w_mn * law.problem.norm_w_mn
    twin = replace(setup, problem=law.problem, sigma=float(law.variance**-0.5), rho0=rho0)
    assert setup.case is not None
    return replace(twin, eta=setup.case.load * twin.limit), law


def simulated(
    twin: Setup, law: FlipLaw, steps: np.ndarray, replicas: int, seed: int, *, flip: float = FLIP
) -> np.ndarray:
    """Change of ln rho ``(R,)`` after burn-in, of cross-entropy SGD at learning rate twin.eta / q."""
    reduced = twin.problem.reduced(twin.direction)
    plain = compact(reduced)
    labels = Problem(plain.X, np.sign(plain.y))
    model = VariantSGD(labels, twin.parametrization, twin.model.scale, Variant(flip=flip))
    states = model.start(reduced.coordinates(twin.u0), replicas)
    noise = sgd.Noise(twin.batch, 0.0, seed)
    table = sgd.simulate(model, states, Constant(twin.eta / law.variance), steps, noise=noise, threads=THREADS)
    log_rho = np.log(twin.manifold.relaxed(table["nu"][1:], table["r"][1:]))
    return np.asarray(log_rho[1] - log_rho[0])


def steps_for(twin: Setup) -> np.ndarray:
    """0, burn-in, end."""
    burn = int(np.ceil(8 / slowest_rate(twin)))
    return np.array([0, burn, burn + int(CHANGE / abs(twin.law.log_rate(twin.rho0, twin.eta)))])


def predicted(twin: Setup, law: FlipLaw, steps: np.ndarray) -> float:
    """Change of ln rho by the law, at the cross-entropy's own learning rate."""
    rho = twin.law.solve(law.log_rate, twin.rho0, Constant(twin.eta / law.variance), steps)
    return float(np.log(rho[-1] / rho[-2]))


def situation(twin: Setup, **changes: object) -> Situation:
    """Facts of a run with flipped labels."""
    return twin.situation(**{"noise": "flip", "loss": "cross-entropy", **changes})


def drift(setup: Setup, budget: Budget) -> list[Check]:
    """Change of ln rho; leading order in the fluctuation, so that the model margin is measured at 4 eta."""
    twin, law = equivalent(setup)
    coarse = replace(twin, eta=4 * twin.eta)
    rough = steps_for(coarse)
    error = simulated(coarse, law, rough, 96, setup.seed + 1) - predicted(coarse, law, rough)
    steps = steps_for(twin)
    want = predicted(twin, law, steps)
    margin = Margin(model=measured_model(error, budget, ratio=4.0), resolution=RESOLUTION * abs(want))
    values = simulated(twin, law, steps, 96, setup.seed)
    facts = situation(twin)
    return [sampled("C11", "change of ln rho, flips", want, values, margin=margin, budget=budget, situation=facts)]


_BASE = Case(depth=2.0, n=3, load=0.01, batch=2, rho0=2.0)


def _compare(twin: Setup, law: FlipLaw, budget: Budget, *, flip: float, **facts: object) -> list[Check]:
    steps = steps_for(twin)
    want = predicted(twin, law, steps)
    values = simulated(twin, law, steps, 64, twin.seed, flip=flip)
    margin = Margin(resolution=RESOLUTION * abs(want))
    where = situation(twin, **facts)
    return [sampled("C11", "change of ln rho, flips", want, values, margin=margin, budget=budget, situation=where)]


def _other_flips(budget: Budget) -> list[Check]:
    """Labels flipped half as often as the law assumes."""
    twin, law = equivalent(_BASE.setup())
    return _compare(twin, law, budget, flip=FLIP / 2)


def _no_flips(budget: Budget) -> list[Check]:
    """Labels never flipped: no minimum at a finite distance."""
    twin, law = equivalent(_BASE.setup())
    return _compare(twin, law, budget, flip=0.0, noise="none")


EXPERIMENTS = (
    Experiment(
        "C11",
        "drift under flips",
        drift,
        (_BASE, Case(depth=3.0, n=4, load=0.01, batch=4, rho0=2.5)),
        (Control("other flip probability", _other_flips), Control("no flips", _no_flips)),
        comparisons=2,
    ),
)
