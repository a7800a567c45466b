"""C2, C9: the covariance of the residual at any eta and B, and where it stops being bounded."""

from dataclasses import replace

import numpy as np

from numerics import sgd
from numerics.check import Check, Margin, mean_and_sem
from numerics.noise_floor import Fluctuations, floor_small_eta, stability_limit
from numerics.schedule import Constant
from verify import oracle
from verify.budget import Budget, sequential, two_sided
from verify.case import Case, Setup
from verify.experiment import DIVERGED, Control, Domain, Experiment, exact, sampled
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
        least=64,
        most=4096,
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
        mean, sem = mean_and_sem(values[-1])
        return two_sided((mean - _pairs(C)) / sem, size)

    outcome = sequential(p_value, level=budget.level, size=1024)
    trace = values[-1][: flat.problem.n].sum(axis=0) / np.trace(C)
    facts = flat.situation(noise_share=0.0)
    margin = Margin(resolution=0.5)
    return [
        sampled("C2", "tr q q^T / tr C, D = 1", 1.0, trace, margin=margin, budget=budget, situation=facts),
        exact("C2", "entries of C agree (sequential)", 1.0, outcome.passed, margin=Margin(), situation=facts),
    ]


def _pairs(C: np.ndarray) -> np.ndarray:
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


def limit(setup: Setup, budget: Budget) -> list[Check]:
    """At the limit the second-moment map has spectral radius 1, just below it less, and the limit rises with B."""
    K, batch = setup.kernel0, setup.batch
    eta = stability_limit(K, batch=batch)
    top = oracle.spectral_radius(K, eta, batch)
    below = oracle.spectral_radius(K, 0.99 * eta, batch)
    larger = stability_limit(K, batch=2 * batch)
    facts = setup.situation()
    rounding = Margin(rounding=1e-9)
    return [
        exact("C9", "spectral radius at the limit", 1.0, top, margin=rounding, situation=facts),
        exact("C9", "spectral radius below", 1.0, below, margin=Margin(), situation=facts, side="upper"),
        exact("C9", "limit at 2B over limit at B", 1.0, larger / eta, margin=rounding, situation=facts, side="lower"),
    ]


def one_step(setup: Setup, budget: Budget) -> list[Check]:
    """D = 1, no label noise: E[q q^T] after three steps is the map applied three times, exactly. Sequential."""
    flat = replace(setup, depth=1.0, sigma=0.0)
    flat = replace(flat, eta=0.8 * flat.limit)
    q0, n = np.linalg.cholesky(flat.problem.gram) @ np.ones(flat.problem.n), flat.problem.n
    shift = flat.w0 + np.linalg.lstsq(flat.problem.X, q0, rcond=None)[0]
    transfer = oracle.second_moment_map(flat.kernel0, flat.eta, flat.batch)
    want = (np.linalg.matrix_power(transfer, 3) @ np.outer(q0, q0).ravel()).reshape(n, n)

    def moments(size: int, seed: int) -> np.ndarray:
        states = flat.model.start(shift, size)
        noise = replace(flat.noise, seed=seed)
        sgd.simulate(flat.model, states, Constant(flat.eta), np.array([0, 3]), noise=noise, threads=THREADS)
        q = states[:, :n] - flat.problem.y
        i, j = np.triu_indices(n, 1)
        return np.asarray(np.concatenate([q.T**2, q.T[i] * q.T[j]]))

    def p_value(stage: int, size: int) -> float:
        mean, sem = mean_and_sem(moments(size, flat.seed + 1000 * (stage + 1)))
        return two_sided((mean - _pairs(want)) / np.maximum(sem, 1e-12 * np.trace(want)), size)

    outcome = sequential(p_value, level=budget.level, size=2048)
    facts = flat.situation()
    return [exact("C9", "q q^T after three steps (sequential)", 1.0, outcome.passed, margin=Margin(), situation=facts)]


def growth(setup: Setup, budget: Budget) -> list[Check]:
    """SGD on M with little noise stays where it is at 0.8 of the limit there, and leaves at three times the limit."""
    limit = stability_limit(setup.kernel0, batch=setup.batch)
    facts = setup.situation()
    return [
        exact("C9", f"share that leaves at {share} of the limit", leaves, departed(setup, share * limit), **rest)
        for share, leaves, rest in (
            (0.8, 0.0, {"margin": Margin(), "situation": facts}),
            (3.0, 1.0, {"margin": Margin(), "situation": facts}),
        )
    ]


def departed(setup: Setup, eta: float, *, replicas: int = 32) -> float:
    """Share of replicas whose rho is 1 % from the start's, or which diverged, after 60 of the slowest relaxation times."""
    setup = replace(setup, eta=eta)
    steps = np.array([0, int(60 / slowest_rate(setup))])
    states = setup.model.start(setup.u0, replicas)
    table = sgd.simulate(setup.model, states, Constant(eta), steps, noise=setup.noise, threads=THREADS)
    rho = setup.manifold.relaxed(table["nu"][1], table["r"][1])
    return float(np.mean(~(np.abs(rho / setup.rho0 - 1) < 0.01)))


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


def _bounded_above_the_limit(budget: Budget) -> list[Check]:
    setup = _BASE.setup()
    share = departed(setup, 3 * stability_limit(setup.kernel0, batch=setup.batch))
    return [exact("C9", "share that leaves", 0.0, share, margin=Margin(), situation=setup.situation())]


def _full_batch_limit(budget: Budget) -> list[Check]:
    """2/lambda_max(H), the gradient-descent limit, in place of the mean-square one."""
    setup = _BASE.setup()
    eta = 2 * setup.problem.n / np.linalg.eigvalsh(setup.kernel0)[-1]
    top = oracle.spectral_radius(setup.kernel0, eta, 1)
    return [exact("C9", "spectral radius", 1.0, top, margin=Margin(1e-9), situation=setup.situation())]


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
    Experiment("C2", "linear, exact", linear, (Case(n=3), Case(n=4, batch=3)), (), comparisons=2),
    Experiment(
        "C9",
        "limit",
        limit,
        (_BASE, Case(depth=3.0, n=5, batch=1), Case(n=4, spectrum="digits", batch=16)),
        (Control("gradient descent's limit instead", _full_batch_limit),),
        domain=Domain(depths=_ALL_DEPTHS, batches=(1, 2, 3, 8, 64), largest_n=6),
        examples=40,
        own_data=True,
    ),
    Experiment("C9", "second moment", one_step, (Case(n=3), Case(n=4, batch=3)), (), comparisons=1),
    Experiment(
        "C9",
        "SGD around the limit",
        growth,
        (Case(n=3, noise=1e-6), Case(depth=3.0, n=4, batch=2, noise=1e-6)),
        (Control("eta above the stability limit", _bounded_above_the_limit),),
    ),
)
