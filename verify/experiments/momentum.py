"""C13: heavy ball's own covariance and drift."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from numerics import sgd
from numerics.check import Check, Margin
from numerics.dynamics import Variant, VariantSGD, compact
from numerics.momentum_law import MomentumFluctuations, MomentumLaw, momentum_stability_limit
from numerics.noise_floor import Fluctuations, stability_limit
from numerics.schedule import Constant
from theory.conditions import Situation
from verify.budget import Budget
from verify.case import Case, Setup
from verify.experiment import Control, Experiment, exact, sampled
from verify.experiments.common import THREADS, first_order, slowest_rate

CHANGE, RESOLUTION = 0.2, 0.08


@dataclass(frozen=True)
class Momentum:
    """Heavy ball on a setup: eta is reset to the case's share of heavy ball's own limit, sigma to the case's noise
    share.
    """

    case: Case
    beta: float

    @cached_property
    def setup(self) -> Setup:
        """The setup with heavy ball's learning rate and label noise."""
        draft = self.case.setup()
        eta = self.case.load * self.limit(draft)
        C = MomentumFluctuations(draft.kernel0, eta, draft.batch, self.beta).covariance(1.0)
        share = np.trace(np.linalg.solve(draft.kernel0, C)) / draft.r0**2
        return replace(draft, eta=eta, sigma=float(np.sqrt(self.case.noise / share)))

    def limit(self, setup: Setup) -> float:
        """Heavy ball's stability limit at the start and a little beyond."""
        kernels = [setup.manifold.kernel(x * setup.rho0) for x in (0.8, 1.0, 1.1)]
        return min(momentum_stability_limit(K, batch=setup.batch, momentum=self.beta) for K in kernels)

    def situation(self, **changes: Any) -> Situation:
        """Facts, with heavy ball's load and noise share."""
        facts = {"load": self.case.load, "noise_share": self.case.noise, "momentum": self.beta}
        return self.setup.situation(**{**facts, **changes})


def _law(setup: Setup, beta: float) -> MomentumLaw:
    return MomentumLaw(setup.manifold, setup.batch, setup.sigma, beta)


def steps_for(setup: Setup, beta: float) -> np.ndarray:
    """0, burn-in, end."""
    burn = int(np.ceil(12 / min(slowest_rate(setup), 1 - beta)))
    rate = abs(_law(setup, beta).log_rate(setup.rho0, setup.eta))
    return np.array([0, burn, burn + min(int(CHANGE / rate), 300_000)])


def predicted(setup: Setup, beta: float, steps: np.ndarray) -> float:
    """Change of ln rho by the law after burn-in."""
    rho = setup.law.solve(_law(setup, beta).log_rate, setup.rho0, Constant(setup.eta), steps)
    return float(np.log(rho[-1] / rho[-2]))


def simulated(setup: Setup, beta: float, steps: np.ndarray, replicas: int, seed: int) -> dict[str, np.ndarray]:
    """Change of ln rho ``(R,)`` between burn-in and end, and the train losses at both."""
    reduced = setup.problem.reduced(setup.direction)
    model = VariantSGD(compact(reduced), setup.parametrization, setup.model.scale, Variant(momentum=beta))
    states = model.start(reduced.coordinates(setup.u0), replicas)
    noise = replace(setup.noise, seed=seed)
    table = sgd.simulate(model, states, Constant(setup.eta), steps, noise=noise, threads=THREADS)
    log_rho = np.log(setup.manifold.relaxed(table["nu"][1:], table["r"][1:]))
    return {"change": log_rho[1] - log_rho[0], "loss": table["loss"][1:]}


def drift(budget: Budget, *, beta: float, case: Case) -> list[Check]:
    """Change of ln rho against the heavy-ball law."""
    momentum = Momentum(case, beta)
    setup = momentum.setup
    steps = steps_for(setup, beta)

    def same(s: Setup) -> np.ndarray:
        length = int((steps[2] - steps[1]) * (setup.sigma / s.sigma) ** 2)
        return np.array([0, steps[1], steps[1] + max(length, 1)])

    check = first_order(
        "C13",
        f"change of ln rho, beta = {beta}",
        setup,
        budget,
        predict=lambda s: predicted(s, beta, same(s)),
        sample=lambda s, replicas, seed: simulated(s, beta, same(s), replicas, seed)["change"],
        resolution=RESOLUTION * max(abs(predicted(setup, beta, steps)), CHANGE / 4),
        situation=momentum.situation(),
        most=256,
    )
    return [check]


def heavy_ball(setup: Setup, budget: Budget) -> list[Check]:
    """The drift at beta = 0.9."""
    return drift(budget, beta=0.9, case=_case_of(setup))


def light_ball(setup: Setup, budget: Budget) -> list[Check]:
    """The drift at beta = 0.5."""
    return drift(budget, beta=0.5, case=_case_of(setup))


def _case_of(setup: Setup) -> Case:
    assert setup.case is not None
    return setup.case


def equation(setup: Setup, budget: Budget) -> list[Check]:
    """beta = 0 is C2 and C9; at small eta heavy ball is SGD at eta/(1 - beta)."""
    K, batch, n = setup.kernel0, setup.batch, setup.problem.n
    plain = Fluctuations(K, setup.eta, batch).covariance(setup.sigma)
    none = MomentumFluctuations(K, setup.eta, batch, 0.0).covariance(setup.sigma)
    limits = momentum_stability_limit(K, batch=batch, momentum=0.0) / stability_limit(K, batch=batch)
    tiny = setup.eta * 1e-5
    slow = np.trace(MomentumFluctuations(K, tiny * 0.1, batch, 0.9).covariance(1.0)) / n
    fast = np.trace(Fluctuations(K, tiny, batch).covariance(1.0)) / n
    error = float(np.abs(none - plain).max() / np.abs(plain).max())
    facts, condition = setup.situation(momentum=0.9, noise_share=0.0), float(np.linalg.cond(K))
    return [
        exact("C13", "C at beta = 0", 0.0, error, margin=Margin(1e-12 * condition), situation=facts),
        exact("C13", "limit at beta = 0 over C9's", 1.0, limits, margin=Margin(1e-8), situation=facts),
        exact("C13", "floor at small eta over SGD's", 1.0, slow / fast, margin=Margin(1e-8, 1e-3), situation=facts),
    ]


_BASE = Case(depth=2.0, n=3, batch=2, load=0.4, noise=3e-5)


def _mismatch(assumed: float, beta: float, budget: Budget, **facts: object) -> list[Check]:
    """The law at one momentum against heavy ball at another."""
    momentum = Momentum(_BASE, beta)
    setup = momentum.setup
    steps = steps_for(setup, beta)
    want = predicted(setup, assumed, steps)
    values = simulated(setup, beta, steps, 32, setup.seed)["change"]
    margin = Margin(resolution=RESOLUTION * abs(want))
    situation = momentum.situation(**facts)
    return [sampled("C13", "change of ln rho", want, values, margin=margin, budget=budget, situation=situation)]


def _momentum_ignored(budget: Budget) -> list[Check]:
    return _mismatch(0.0, 0.5, budget)


def _small_eta_formula(budget: Budget) -> list[Check]:
    """SGD at eta/(1 - beta) in place of heavy ball, at 80 % of heavy ball's limit."""
    momentum = Momentum(replace(_BASE, load=0.8), 0.9)
    setup = momentum.setup
    steps = steps_for(setup, 0.9)
    law = _law(setup, 0.9)
    rho = setup.law.solve(law.log_rate_small_eta, setup.rho0, Constant(setup.eta), steps)
    want = float(np.log(rho[-1] / rho[-2]))
    values = simulated(setup, 0.9, steps, 32, setup.seed)["change"]
    margin, facts = Margin(resolution=RESOLUTION * abs(want)), momentum.situation()
    return [sampled("C13", "change of ln rho", want, values, margin=margin, budget=budget, situation=facts)]


def _too_fast(budget: Budget) -> list[Check]:
    """Drift not slow against 1 - beta: momentum is still gathering while the law says that rho has moved."""
    momentum = Momentum(replace(_BASE, noise=0.01), 0.98)
    setup = momentum.setup
    steps = np.array([0, 1, 1 + int(CHANGE / abs(_law(setup, 0.98).log_rate(setup.rho0, setup.eta)))])
    values = simulated(setup, 0.98, steps, 256, setup.seed)["change"]
    want, facts = predicted(setup, 0.98, steps), momentum.situation()
    margin = Margin(resolution=RESOLUTION * abs(want))
    return [sampled("C13", "change of ln rho", want, values, margin=margin, budget=budget, situation=facts)]


EXPERIMENTS = (
    Experiment(
        "C13",
        "drift, beta = 0.9",
        heavy_ball,
        (_BASE, Case(depth=3.0, n=4, batch=4, load=0.6, noise=3e-5)),
        (
            Control("momentum ignored", _momentum_ignored),
            Control("small-eta formula at a large eta", _small_eta_formula),
            Control("drift not slow against 1 - beta", _too_fast),
        ),
        comparisons=2,
    ),
    Experiment(
        "C13", "drift, beta = 0.5", light_ball, (_BASE, Case(depth=2.0, n=4, load=0.5, noise=3e-5)), (), comparisons=2
    ),
    Experiment("C13", "equation", equation, (_BASE, Case(depth=3.0, n=4, load=0.8), Case(n=2, spectrum="digits")), ()),
)
