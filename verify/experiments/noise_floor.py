"""C2, C9: the covariance of the residual at any eta and B, and where it stops being bounded."""

from dataclasses import replace

import numpy as np

from numerics import sgd, streams
from numerics.check import Check, Margin
from numerics.noise_floor import Fluctuations, floor_small_eta
from numerics.schedule import Constant
from verify import oracle
from verify.budget import Budget, of_means, sequential, two_sided
from verify.case import Case, Setup
from verify.experiment import Control, Domain, Experiment, exact, sampled
from verify.experiments.common import THREADS, first_order, slowest_rate

RESOLUTION = 0.15  # of the floor
_RECORDS = 24


def floor_samples(setup: Setup, replicas: int, seed: int) -> np.ndarray:
    """Train loss of each replica ``(R,)`` averaged over records a relaxation time apart, after burn-in."""
    gap = int(np.ceil(1 / slowest_rate(setup)))
    steps = np.concatenate([[0], 8 * gap + gap * np.arange(_RECORDS)])
    states = setup.model.start(setup.u0, replicas)
    noise = replace(setup.noise, seed=seed)
    table = sgd.simulate(setup.model, states, Constant(setup.eta), steps, noise=noise, threads=THREADS)
    return np.asarray(table["loss"][1:].mean(axis=0))


def predicted_floor(setup: Setup) -> float:
    """tr C / 2n at the start."""
    C = Fluctuations(setup.kernel0, setup.eta, setup.batch).covariance(setup.sigma)
    return float(np.trace(C) / (2 * setup.problem.n))


def floor(setup: Setup, budget: Budget) -> list[Check]:
    """Mean train loss over the finite-eta floor."""
    check = first_order(
        "C2",
        "train loss / floor",
        setup,
        budget,
        predict=lambda s: 1.0,
        sample=lambda s, replicas, seed: floor_samples(s, replicas, seed) / predicted_floor(s),
        resolution=RESOLUTION,
        situation=setup.situation(),
        least=256,
        most=16384,
        care=1.5,
    )
    return [check]


def equation(setup: Setup, budget: Budget) -> list[Check]:
    """C in the eigenbasis against the fixed point of the second-moment map in all n^2 unknowns; its small-eta limit."""
    K, eta, batch = setup.kernel0, setup.eta, setup.batch
    slow = oracle.stationary_covariance(K, eta, batch, setup.sigma)
    fast = Fluctuations(K, eta, batch).covariance(setup.sigma)
    error = float(np.abs(fast - slow).max() / np.abs(slow).max())
    facts = setup.situation()
    tiny = eta * 1e-6
    small = np.trace(oracle.stationary_covariance(K, tiny, batch, setup.sigma)) / (2 * setup.problem.n)
    formula = floor_small_eta(K, eta=tiny, batch=batch, sigma=setup.sigma)
    condition = float(np.linalg.cond(K))
    return [
        exact("C2", "C, relative error", 0.0, error, margin=Margin(rounding=1e-13 * condition), situation=facts),
        exact("C2", "small-eta floor", formula, small, margin=Margin(1e-9 * formula, 1e-5 * formula), situation=facts),
    ]


def linear(setup: Setup, budget: Budget) -> list[Check]:
    """D = 1: the dynamics is linear, so that C is exact at any sigma; tested sequentially on q q^T."""
    flat = replace(setup, depth=1.0, eta=setup.eta, sigma=0.5)
    flat = replace(flat, eta=0.4 * flat.limit)
    C = Fluctuations(flat.kernel0, flat.eta, flat.batch).covariance(flat.sigma)
    values: list[np.ndarray] = []

    def p_value(stage: int, size: int) -> float:
        values.append(_quadratic(flat, size, seed=flat.seed + 1000 * (stage + 1)))
        return of_means(values[-1], pairs(C))

    outcome = sequential(p_value, level=budget.level, size=1024)
    trace = values[-1][: flat.problem.n].sum(axis=0) / np.trace(C)
    facts = flat.situation(noise_share=0.0)
    margin = Margin(resolution=0.5)
    return [
        sampled("C2", "tr q q^T / tr C, D = 1", 1.0, trace, margin=margin, budget=budget, situation=facts),
        exact("C2", "entries of C agree (sequential)", 1.0, outcome.passed, margin=Margin(), situation=facts),
    ]


def pairs(C: np.ndarray) -> np.ndarray:
    """Diagonal first, then the entries above it."""
    return np.concatenate([np.diag(C), C[np.triu_indices(len(C), 1)]])


def _quadratic(setup: Setup, replicas: int, *, seed: int) -> np.ndarray:
    """Entries of q q^T ``(pairs, R)`` after burn-in."""
    states = setup.model.start(setup.u0, replicas)
    burn = int(np.ceil(12 / slowest_rate(setup)))
    noise = replace(setup.noise, seed=seed)
    sgd.simulate(setup.model, states, Constant(setup.eta), np.array([0, burn]), noise=noise, threads=THREADS)
    n = setup.problem.n
    q = states[:, :n] - setup.problem.y  # D = 1: X F(u) = X u
    i, j = np.triu_indices(n, 1)
    return np.asarray(np.concatenate([q.T**2, q.T[i] * q.T[j]]))


def draws(setup: Setup, budget: Budget) -> list[Check]:
    """The draws of SGD: moments and correlations of the label noise, frequencies of the rows. Sequential."""

    def p_value(stage: int, size: int) -> float:
        address = {"seed": setup.seed + stage, "purpose": "sgd", "replica": 3}
        x, words = streams.samples(**address, first=0, count=2 * size)
        rows = (words * np.uint64(7)) >> np.uint64(32)
        even, odd = x[0::2], x[1::2]
        parts = [
            even,
            odd,
            even**2 - 1,
            odd**2 - 1,
            even**4 - 3,
            odd**4 - 3,
            even * odd,
            even[1:] * odd[:-1],
            even[1:] * even[:-1],
        ]
        parts += [(rows == i) - 1 / 7 for i in range(7)] + [(rows[:-1] == rows[1:]) - 1 / 7, x * (rows - 3.0)]
        return two_sided([part.mean() / (part.std() / np.sqrt(part.size)) for part in parts], size)

    outcome = sequential(p_value, level=budget.level, size=200_000)
    facts = setup.situation()
    return [exact("C2", "draws (sequential)", 1.0, outcome.passed, margin=Margin(), situation=facts)]


_BASE = Case(depth=2.0, n=3, load=0.5, batch=2, noise=1e-5)


def _compare(setup: Setup, physics: Setup, budget: Budget, predicted: float, **facts: object) -> list[Check]:
    values = floor_samples(physics, 1024, physics.seed) / predicted
    margin, situation = Margin(resolution=RESOLUTION), setup.situation(**facts)
    return [sampled("C2", "train loss / floor", 1.0, values, margin=margin, budget=budget, situation=situation)]


def _no_label_noise(budget: Budget) -> list[Check]:
    setup = _BASE.setup()
    return _compare(setup, replace(setup, sigma=0.0), budget, predicted_floor(setup), noise="none")


def _wrong_depth(budget: Budget) -> list[Check]:
    setup = _BASE.setup()
    wrong = predicted_floor(replace(setup, depth=3.0, eta=setup.eta / 2))
    return _compare(setup, replace(setup, eta=setup.eta / 2), budget, wrong, depth_assumed=3.0)


def _small_eta_formula(budget: Budget) -> list[Check]:
    setup = _BASE.setup()
    small = floor_small_eta(setup.kernel0, eta=setup.eta, batch=setup.batch, sigma=setup.sigma)
    return _compare(setup, setup, budget, small)


def _batch_ignored(budget: Budget) -> list[Check]:
    setup = _BASE.setup()
    return _compare(setup, replace(setup, batch=1, eta=setup.eta / 2), budget, predicted_floor(setup))


def _above_the_limit(budget: Budget) -> list[Check]:
    setup = _BASE.setup()
    return _compare(setup, replace(setup, eta=2.5 * setup.limit), budget, predicted_floor(setup), load=2.5)


_ALL_DEPTHS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)

EXPERIMENTS = (
    Experiment(
        "C2",
        "floor",
        floor,
        (
            _BASE,
            Case(depth=3.0, n=5, batch=4, load=0.3, noise=1e-5),
            Case(depth=2.0, n=4, spectrum="digits", load=0.2, noise=1e-5),
        ),
        (
            Control("no label noise", _no_label_noise),
            Control("wrong depth", _wrong_depth),
            Control("small-eta formula at a large eta", _small_eta_formula),
            Control("batch size ignored", _batch_ignored),
            Control("eta above the stability limit", _above_the_limit),
        ),
        comparisons=2,
        domain=Domain(loads=(0.1, 0.4), noises=(3e-6, 3e-5), largest_n=4, depths=(1.0, 1.5, 2.0, 3.0)),
        examples=8,
        own_data=True,
    ),
    Experiment(
        "C2",
        "equation",
        equation,
        (_BASE, Case(depth=3.0, n=5, load=0.9), Case(n=5, batch=4, spectrum="near-degenerate", load=0.9)),
        (),
        domain=Domain(depths=_ALL_DEPTHS, batches=(1, 2, 3, 8, 64), largest_n=6),
        examples=40,
        own_data=True,
    ),
    Experiment("C2", "draws", draws, (Case(), Case(seed=1)), (), comparisons=1),
    Experiment("C2", "linear, exact", linear, (Case(n=3), Case(n=4, batch=3)), (), comparisons=2),
)
