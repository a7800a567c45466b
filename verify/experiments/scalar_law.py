"""C4, C5, C6: the scalar law against SGD and against its own closed forms."""

from dataclasses import replace

import numpy as np

from numerics import sgd
from numerics.check import Check, Margin
from numerics.schedule import Constant, StepDecay
from verify import oracle
from verify.budget import Budget
from verify.case import Case, Setup, manifold_of
from verify.experiment import Control, Domain, Experiment, exact, sampled
from verify.experiments.common import (
    displacement,
    first_order,
    horizon,
    log_rho,
    measured_model,
    relabelled,
    slowest_rate,
)

CHANGE = 0.25  # of ln rho: far enough to see its dependence on rho
RESOLUTION = 0.06  # relative error of a displacement that a check undertakes to detect


def predicted_displacement(setup: Setup, steps: np.ndarray) -> float:
    """ln rho at the end minus ln rho after burn-in, by the law."""
    rho = setup.law.solve(setup.law.log_rate, setup.rho0, Constant(setup.eta), steps)
    return float(np.log(rho[-1] / rho[-2]))


def drift(setup: Setup, budget: Budget) -> list[Check]:
    """SGD's change of ln rho against the finite-eta law's."""
    steps = horizon(setup, CHANGE)
    check = first_order(
        "C4",
        "change of ln rho",
        setup,
        budget,
        predict=lambda s: predicted_displacement(s, _same_slow_time(steps, s, setup)),
        sample=lambda s, replicas, seed: displacement(s, _same_slow_time(steps, s, setup), replicas, seed),
        resolution=RESOLUTION * max(abs(predicted_displacement(setup, steps)), CHANGE / 4),
        situation=setup.situation(),
    )
    return [check]


def _same_slow_time(steps: np.ndarray, setup: Setup, reference: Setup) -> np.ndarray:
    """Fewer steps at larger sigma, so that sigma^2 times their number stays."""
    share = (reference.sigma / setup.sigma) ** 2 if setup.sigma > 0 else 1.0
    return np.array([0, steps[1], steps[1] + max(1, int((steps[2] - steps[1]) * share))])


def blind_drift(claim_setup: Setup, physics: Setup, budget: Budget, **situation: object) -> list[Check]:
    """The drift check with the law of one setup and SGD of another: what controls are made of."""
    steps = horizon(claim_setup, CHANGE)
    predicted = predicted_displacement(claim_setup, steps)
    values = displacement(physics, steps, 32, physics.seed)
    margin = Margin(resolution=RESOLUTION * abs(predicted))
    facts = claim_setup.situation(**situation)
    return [sampled("C4", "change of ln rho", predicted, values, margin=margin, budget=budget, situation=facts)]


def closed_forms(setup: Setup, budget: Budget) -> list[Check]:
    """Small-eta rate of ln rho against the formula in X, y, D; and tr H on the ray against a numerical Hessian."""
    problem, D, r, rho = setup.problem, setup.depth, setup.r0, setup.rho0
    slope = (
        2 * (D - 1) * r ** (2 * D - 3) * np.sum(problem.X**2) - 2 * (D**2 - 1) * r**-3 * np.sum(problem.y**2)
    ) / problem.n
    mobility = 1 / (D * r * (1 - (1 - D**-2) * rho**2 / r ** (2 * D)))
    rate = -((setup.eta * setup.sigma) ** 2) / (4 * setup.batch) * slope * mobility
    trace = float(np.trace(oracle.tangent_kernel(problem.X, setup.u0, D)) / problem.n)
    facts = setup.situation(noise_share=0.0)
    margin = Margin(rounding=1e-9 * (abs(rate) + abs(setup.eta * setup.sigma) ** 2 * trace / r**2))
    return [
        exact(
            "C4", "small-eta rate", rate, setup.law.log_rate_small_eta(rho, setup.eta), margin=margin, situation=facts
        ),
        exact(
            "C4",
            "tr H on the ray",
            trace,
            setup.manifold.trace_hessian(rho),
            margin=Margin(rounding=1e-10 * trace),
            situation=facts,
        ),
    ]


def straight_ray(setup: Setup, budget: Budget) -> list[Check]:
    """Full SGD: the null part of w never turns, whatever the noise; its component off zhat is rounding."""
    model = sgd.FullRadialSGD(setup.problem, setup.parametrization, float(np.linalg.norm(setup.w0)))
    states = model.start(setup.u0, 4)
    sgd.simulate(model, states, Constant(setup.eta), np.array([0, 500]), noise=setup.noise, threads=1)
    null = setup.problem.null_part(states)
    off = float(np.abs(null - np.outer(null @ setup.direction, setup.direction)).max() / np.linalg.norm(setup.u0))
    return [exact("C4", "turn of the null part", 0.0, off, margin=Margin(rounding=1e-12), situation=setup.situation())]


def selection(setup: Setup, budget: Budget) -> list[Check]:
    """The least tr H on the ray against the closed form: |w|^2 = max(|w_mn|^2, (D + 1)|y|^2 / |X|_F^2)."""
    problem, D = setup.problem, setup.depth
    rest = max(problem.norm_w_mn**2, (D + 1) * np.sum(problem.y**2) / np.sum(problem.X**2))
    flattest = setup.manifold.flattest_rho(50 * problem.norm_w_mn)
    facts = setup.situation(noise_share=0.0)
    checks = [
        exact(
            "C5",
            "|w|^2 at the flattest point",
            rest,
            problem.norm_w_mn**2 + flattest**2,
            margin=Margin(rounding=1e-9 * rest),
            situation=facts,
        )
    ]
    if problem.stable_rank >= D + 1:
        margin = Margin(rounding=1e-9)
        checks.append(exact("C5", "flattest rho, rich data", 0.0, flattest, margin=margin, situation=facts))
    return checks


def resting(setup: Setup, budget: Budget) -> list[Check]:
    """SGD started outside the finite-eta resting point comes to rest there."""
    rest = setup.law.resting_rho(setup.rho0, setup.eta)
    inside = (
        setup.law.log_rate(0.9 * rest, setup.eta) / 0.1 if rest > 0 else abs(setup.law.log_rate(setup.rho0, setup.eta))
    )
    length = int(6 / abs(inside))
    steps = np.array([0, length, 2 * length])
    coarse = replace(setup, sigma=2 * setup.sigma)
    error = log_rho(coarse, np.array([0, length // 4, length // 2]), 48, seed=setup.seed + 1).mean(0) - np.log(rest)
    values = log_rho(setup, steps, 96, seed=setup.seed)[1:].mean(axis=0)
    margin = Margin(model=measured_model(error, budget, ratio=4.0), resolution=0.05)
    facts = setup.situation()
    return [sampled("C5", "ln rho at rest", float(np.log(rest)), values, margin=margin, budget=budget, situation=facts)]


def arrival(setup: Setup, budget: Budget) -> list[Check]:
    """At the number of steps that the quadrature gives, SGD has arrived; after a tenfold decay it hardly moves on."""
    end = setup.rho0 * np.exp(-CHANGE)
    N = int(setup.law.steps_between(setup.rho0, end, setup.eta))
    steps, schedule, facts = np.array([0, N, 2 * N]), StepDecay(setup.eta, N, 10.0), setup.situation()
    coarse = log_rho(replace(setup, sigma=2 * setup.sigma), np.array([0, N // 4]), 48, seed=setup.seed + 1)[-1]
    model = measured_model(coarse - np.log(end), budget, ratio=4.0)
    path = log_rho(setup, steps, 48, seed=setup.seed, schedule=schedule)
    law = setup.law.solve(setup.law.log_rate, setup.rho0, schedule, steps)
    still = float(np.log(law[2] / law[1]))
    ratio = setup.law.log_rate_small_eta(end, setup.eta / 10) / setup.law.log_rate_small_eta(end, setup.eta)
    arrived = Margin(model=model, resolution=RESOLUTION * CHANGE)
    transient = abs(setup.law.log_rate(end, setup.eta)) / slowest_rate(setup)  # one relaxation time of the old drift
    frozen = Margin(model=transient, resolution=0.2 * abs(still))
    return [
        sampled("C6", "ln rho on arrival", float(np.log(end)), path[1], margin=arrived, budget=budget, situation=facts),
        sampled("C6", "ln rho gained frozen", still, path[2] - path[1], margin=frozen, budget=budget, situation=facts),
        exact("C6", "rate after tenfold decay", 0.01, ratio, margin=Margin(rounding=1e-12), situation=facts),
    ]


_BASE = Case(depth=2.0, n=3, load=0.5, batch=2)
_POOR = Case(depth=3.0, n=1, extra=7, load=0.4, rho0=2.2, noise=3e-4)


def _no_label_noise(budget: Budget) -> list[Check]:
    setup = _BASE.setup()
    return blind_drift(setup, replace(setup, sigma=0.0), budget, noise="none")


def _static_noise(budget: Budget) -> list[Check]:
    setup = _BASE.setup()
    error = setup.sigma * np.random.Generator(np.random.Philox(setup.seed)).standard_normal(setup.problem.n)
    physics = replace(relabelled(setup, setup.problem.y + error), sigma=0.0)
    return blind_drift(setup, physics, budget, noise="static")


def _linear(budget: Budget) -> list[Check]:
    setup = _BASE.setup()
    flat = replace(setup, depth=1.0, eta=setup.eta / 2)
    return blind_drift(setup, flat, budget, depth_assumed=1.0)


def _wrong_depth(budget: Budget) -> list[Check]:
    setup = _BASE.setup()
    return blind_drift(replace(setup, depth=3.0), setup, budget, depth_assumed=2.0)


def _small_eta_formula(budget: Budget) -> list[Check]:
    """The small-eta law used at 80 % of the limit must be seen to be wrong."""
    setup = replace(_BASE, load=0.8).setup()
    steps = horizon(setup, CHANGE)
    small = setup.law.solve(setup.law.log_rate_small_eta, setup.rho0, Constant(setup.eta), steps)
    predicted = float(np.log(small[-1] / small[-2]))
    values = displacement(setup, steps, 32, setup.seed)
    margin = Margin(resolution=RESOLUTION * abs(predicted))
    return [
        sampled("C4", "small-eta law", predicted, values, margin=margin, budget=budget, situation=setup.situation())
    ]


def _unstable(budget: Budget) -> list[Check]:
    setup = _BASE.setup()
    return blind_drift(setup, replace(setup, eta=2.5 * setup.limit), budget, load=2.5)


def _poor_data(budget: Budget) -> list[Check]:
    """Below the threshold the claim that SGD ends at the minimum-norm solution must fail."""
    setup = _POOR.setup()
    observed = setup.manifold.flattest_rho(50 * setup.problem.norm_w_mn)
    facts = setup.situation(noise_share=0.0)
    return [exact("C5", "flattest rho", 0.0, observed, margin=Margin(rounding=1e-9), situation=facts)]


def _rest_wrong_depth(budget: Budget) -> list[Check]:
    setup = _POOR.setup()
    wrong = manifold_of(setup.problem, 4.0).flattest_rho(50 * setup.problem.norm_w_mn)
    right = setup.manifold.flattest_rho(50 * setup.problem.norm_w_mn)
    facts = setup.situation(noise_share=0.0, depth_assumed=4.0)
    return [exact("C5", "flattest rho", wrong, right, margin=Margin(rounding=1e-9), situation=facts)]


def _arrival_without_noise(budget: Budget) -> list[Check]:
    setup = _BASE.setup()
    N = int(setup.law.steps_between(setup.rho0, setup.rho0 * np.exp(-CHANGE), setup.eta))
    path = log_rho(replace(setup, sigma=0.0), np.array([0, N]), 8, seed=setup.seed)
    margin, facts = Margin(resolution=RESOLUTION * CHANGE), setup.situation(noise="none")
    predicted = float(np.log(setup.rho0)) - CHANGE
    return [sampled("C6", "ln rho on arrival", predicted, path[-1], margin=margin, budget=budget, situation=facts)]


_CONTROLS = (
    Control("no label noise", _no_label_noise),
    Control("static label noise", _static_noise),
    Control("D = 1", _linear),
    Control("wrong depth", _wrong_depth),
    Control("small-eta formula at a large eta", _small_eta_formula),
    Control("eta above the stability limit", _unstable),
)

EXPERIMENTS = (
    Experiment(
        "C4",
        "drift",
        drift,
        (
            Case(),
            Case(depth=3.0, n=5, load=0.3, batch=2),
            Case(depth=1.5, n=4, spectrum="power law", load=0.3),
            Case(depth=2.0, n=5, spectrum="near-degenerate", load=0.7, batch=4),
            Case(depth=2.5, n=3, spectrum="digits", load=0.9),
            Case(depth=4.0, n=4, spectrum="diabetes", load=0.6, batch=2, rho0=2.5),
        ),
        _CONTROLS,
        comparisons=2,
        domain=Domain(noises=(5e-5, 3e-4)),
        examples=16,
        own_data=True,
    ),
    Experiment(
        "C4",
        "closed forms",
        closed_forms,
        (Case(), Case(depth=3.0, n=5), Case(depth=2.5, spectrum="digits")),
        (),
        domain=Domain(depths=(1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)),
        examples=25,
        own_data=True,
    ),
    Experiment(
        "C4", "straight ray", straight_ray, (Case(), Case(depth=3.0, n=4, batch=2)), (), domain=Domain(), examples=8
    ),
    Experiment(
        "C5",
        "flattest point",
        selection,
        (Case(), _POOR, Case(depth=2.0, n=2), Case(depth=2.0, n=5, extra=20)),
        (Control("n below the threshold", _poor_data), Control("wrong depth", _rest_wrong_depth)),
        domain=Domain(),
        examples=25,
        own_data=True,
    ),
    Experiment(
        "C5",
        "coming to rest",
        resting,
        (_POOR, Case(depth=2.0, n=1, extra=3, load=0.3, rho0=1.8, noise=3e-4)),
        (),
        comparisons=2,
    ),
    Experiment(
        "C6",
        "arrival",
        arrival,
        (Case(), Case(depth=3.0, n=5, load=0.3, batch=2, rho0=2.0), Case(depth=2.0, n=5, load=0.15, batch=1)),
        (Control("no label noise", _arrival_without_noise),),
        comparisons=3,
    ),
)
