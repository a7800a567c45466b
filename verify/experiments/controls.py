"""C10: what must not drift, and what drifts otherwise."""

from dataclasses import replace

import numpy as np

from numerics import sgd
from numerics.check import Check, Margin
from numerics.dynamics import Variant, VariantSGD
from numerics.noise_laws import isotropic_rates
from numerics.schedule import Constant
from verify.budget import Budget
from verify.case import Case, Setup
from verify.experiment import Control, Domain, Experiment, exact, sampled
from verify.experiments.common import THREADS, relabelled, slowest_rate

_STEPS = 2000
_ROUNDING = 1e-11  # of |u|: the rounding of _STEPS contracting steps
_WALKERS = 8192
_SPREAD = 0.1  # of rho: how far isotropic noise diffuses in a check


def motion(setup: Setup, *, begin: float = 1.0, settle: int = 0) -> float:
    """Largest change of relaxed rho, relative, over _STEPS steps from begin * u0, after settling."""
    states = setup.model.start(begin * setup.u0, 4)
    steps = np.array([0, settle, settle + _STEPS])
    table = sgd.simulate(setup.model, states, Constant(setup.eta), steps, noise=setup.noise, threads=1)
    rho = setup.manifold.relaxed(table["nu"][1:], table["r"][1:])
    return float(np.abs(rho[1] / rho[0] - 1).max())


def settling(setup: Setup) -> int:
    """Steps in which every residual falls below rounding."""
    return int(80 / slowest_rate(setup))


def stays(setup: Setup, budget: Budget) -> list[Check]:
    """No label noise: on M nothing moves; off M, SGD converges and then nothing moves; static corruption the same."""
    silent = replace(setup, sigma=0.0, eta=0.5 * setup.eta)
    shift = 0.1 * np.random.Generator(np.random.Philox(setup.seed)).standard_normal(setup.problem.n)
    corrupted = relabelled(silent, silent.problem.y + shift * np.abs(silent.problem.y).mean())
    facts, margin = setup.situation(), Margin(rounding=_ROUNDING)
    off, static = _end(silent, 0.95), _end(corrupted, 1.0)
    return [
        exact("C10", "motion on M, sigma = 0", 0.0, motion(silent), margin=margin, situation=facts),
        exact("C10", "loss of minibatch SGD", 0.0, off[0], margin=Margin(rounding=1e-20), situation=facts),
        exact("C10", "its motion afterwards", 0.0, off[1], margin=margin, situation=facts),
        exact("C10", "motion, static corruption", 0.0, static[1], margin=margin, situation=facts),
    ]


def _end(setup: Setup, begin: float) -> tuple[float, float]:
    """Train loss after settling, and the motion of the raw rho afterwards."""
    states = setup.model.start(begin * setup.u0, 4)
    settle = settling(setup)
    steps = np.array([0, settle, settle + _STEPS])
    table = sgd.simulate(setup.model, states, Constant(setup.eta), steps, noise=setup.noise, threads=1)
    return float(table["loss"][1].max()), float(np.abs(table["rho"][2] / table["rho"][1] - 1).max())


def linear(setup: Setup, budget: Budget) -> list[Check]:
    """D = 1: the null part of w is conserved, label noise or not."""
    flat = replace(setup, depth=1.0)
    return [_null_motion(replace(flat, eta=0.5 * flat.limit))]


def _null_motion(setup: Setup) -> Check:
    norm = float(np.linalg.norm(setup.w0))
    model = sgd.FullRadialSGD(setup.problem, setup.parametrization, norm)
    states = model.start(setup.u0, 4)
    before = setup.problem.null_part(setup.w0)
    sgd.simulate(model, states, Constant(setup.eta), np.array([0, _STEPS]), noise=setup.noise, threads=1)
    level = np.array([model.kernel.gain.py_func(float(u @ u)) for u in states])
    change = np.abs(setup.problem.null_part(level[:, None] * states) - before).max() / norm
    facts = setup.situation()
    return exact("C10", "motion of P_N w, D = 1", 0.0, float(change), margin=Margin(_ROUNDING), situation=facts)


def isotropic_samples(setup: Setup, tau: float, steps: int, replicas: int) -> np.ndarray:
    """Relaxed rho ``(R,)`` after steps of full-batch-like SGD with isotropic gradient noise, no label noise."""
    norm = float(np.linalg.norm(setup.w0))
    model = VariantSGD(setup.problem, setup.parametrization, norm, Variant(isotropic=tau))
    states = model.start(setup.u0, replicas)
    noise = sgd.Noise(setup.batch, 0.0, setup.seed)
    table = sgd.simulate(model, states, Constant(setup.eta), np.array([0, steps]), noise=noise, threads=THREADS)
    return setup.manifold.relaxed(table["nu"][1], table["r"][1])


def isotropic(setup: Setup, budget: Budget) -> list[Check]:
    """Mean and variance of rho under isotropic noise against the generator of the limit map."""
    steps, replicas, d = int(20 / slowest_rate(setup)), _WALKERS, setup.problem.d
    unit = isotropic_rates(setup.manifold, setup.rho0, eta=setup.eta, tau=1.0, d=d)
    tau = _SPREAD * setup.rho0 / np.sqrt(unit.variance * steps)
    rho = isotropic_samples(setup, tau, steps, replicas)
    law = isotropic_rates(setup.manifold, setup.rho0, eta=setup.eta, tau=tau, d=d)
    drift, variance = law.drift * steps, law.variance * steps
    # finite eta: S_i = eta tau^2 / (lambda_i (2 - eta lambda_i)), and the last relaxation time does not count in full
    larger = setup.eta * np.linalg.eigvalsh(setup.kernel0)[-1] / (2 * setup.problem.n)
    model = abs(drift) * (larger + 2 / 20) + variance / setup.rho0 * _SPREAD
    facts = setup.situation(noise="isotropic", sigma=0.0)
    wide = Margin(model=model, resolution=0.5 * abs(drift))
    spread = Margin(model=_SPREAD + larger, resolution=0.3)
    squares = (rho - rho.mean()) ** 2 / variance
    return [
        sampled(
            "C10", "mean change of rho, isotropic", drift, rho - setup.rho0, margin=wide, budget=budget, situation=facts
        ),
        sampled("C10", "variance of rho / predicted", 1.0, squares, margin=spread, budget=budget, situation=facts),
    ]


def generator_of_rho(setup: Setup, budget: Budget) -> list[Check]:
    """The drift and variance in nu and r against differences in all d coordinates of the limit map's rho."""
    u, d, h = setup.u0, setup.problem.d, 1e-4 * setup.r0

    def rho(points: np.ndarray) -> np.ndarray:
        nu = np.linalg.norm(setup.problem.null_part(points), axis=1)
        return setup.manifold.relaxed(nu, np.linalg.norm(points, axis=1))

    ahead, here, behind = rho(u + h * np.eye(d)), rho(u[None]), rho(u - h * np.eye(d))
    laplacian, square = np.sum(ahead - 2 * here + behind) / h**2, np.sum(((ahead - behind) / (2 * h)) ** 2)
    law = isotropic_rates(setup.manifold, setup.rho0, eta=1.0, tau=1.0, d=d)
    facts = setup.situation(noise="isotropic", sigma=0.0)
    scale = d / setup.rho0 * square  # the Laplacian's two parts may cancel
    bounds = Margin(rounding=1e-5 * scale), Margin(rounding=1e-5 * square)
    return [
        exact("C10", "drift, all coordinates", laplacian / 2, law.drift, margin=bounds[0], situation=facts),
        exact("C10", "variance, all coordinates", square, law.variance, margin=bounds[1], situation=facts),
    ]


_BASE = Case(depth=2.0, n=3, load=0.5)
_WALK = Case(depth=2.0, n=2, extra=12, load=0.05, rho0=1.0)


def _label_noise_on(budget: Budget) -> list[Check]:
    setup = _BASE.setup()
    facts = setup.situation()
    return [exact("C10", "motion on M", 0.0, motion(setup), margin=Margin(_ROUNDING), situation=facts)]


def _deep(budget: Budget) -> list[Check]:
    return [_null_motion(_BASE.setup())]


def _label_law_for_isotropic(budget: Budget) -> list[Check]:
    """The label-noise law, with sigma that gives the same fluctuations, against isotropic noise."""
    setup = _WALK.setup()
    steps = int(20 / slowest_rate(setup))
    unit = isotropic_rates(setup.manifold, setup.rho0, eta=setup.eta, tau=1.0, d=setup.problem.d)
    tau = _SPREAD * setup.rho0 / np.sqrt(unit.variance * steps)
    rho = isotropic_samples(setup, tau, steps, _WALKERS)
    share = setup.problem.n * setup.eta * tau**2 / 2 / np.trace(setup.kernel0) * setup.problem.n / setup.r0**2
    matched = replace(setup, sigma=setup.sigma * float(np.sqrt(share / setup.noise_share)))
    want = matched.law.log_rate(setup.rho0, setup.eta) * setup.rho0 * steps
    facts, margin = setup.situation(noise="isotropic"), Margin(resolution=0.5 * abs(want))
    return [sampled("C10", "mean change of rho", want, rho - setup.rho0, margin=margin, budget=budget, situation=facts)]


EXPERIMENTS = (
    Experiment(
        "C10",
        "no noise, no drift",
        stays,
        (_BASE, Case(depth=3.0, n=4, batch=2, load=0.4)),
        (Control("label noise on", _label_noise_on),),
        domain=Domain(depths=(1.5, 2.0, 3.0), loads=(0.2, 0.8), largest_n=4),
        examples=6,
    ),
    Experiment(
        "C10",
        "no depth, no drift",
        linear,
        (_BASE, Case(n=4, spectrum="power law")),
        (Control("depth 2", _deep),),
        domain=Domain(),
        examples=6,
    ),
    Experiment(
        "C10",
        "generator of rho",
        generator_of_rho,
        (_BASE, Case(depth=3.0, n=4, extra=2)),
        (),
        domain=Domain(),
        examples=10,
    ),
    Experiment(
        "C10",
        "isotropic noise",
        isotropic,
        (_WALK, Case(depth=3.0, n=3, extra=10, load=0.05, rho0=1.0)),
        (Control("label-noise law instead", _label_law_for_isotropic),),
        comparisons=2,
    ),
)
