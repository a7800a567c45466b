"""C9: where the second moment of the residual stops being bounded."""

from dataclasses import replace

import numpy as np

from numerics import sgd
from numerics.check import Check, Margin
from numerics.noise_floor import stability_limit
from numerics.schedule import Constant
from verify import oracle
from verify.budget import Budget, of_means, sequential
from verify.case import Case, Setup
from verify.experiment import Control, Domain, Experiment, exact
from verify.experiments.common import THREADS, slowest_rate
from verify.experiments.noise_floor import pairs


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
        return of_means(moments(size, flat.seed + 1000 * (stage + 1)), pairs(want), rounding=1e-12 * np.trace(want))

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
    """Share of replicas whose rho is 1 % from the start's, or which diverged, after 60 of the slowest
    relaxation times.
    """
    setup = replace(setup, eta=eta)
    steps = np.array([0, int(60 / slowest_rate(setup))])
    states = setup.model.start(setup.u0, replicas)
    table = sgd.simulate(setup.model, states, Constant(eta), steps, noise=setup.noise, threads=THREADS)
    rho = setup.manifold.relaxed(table["nu"][1], table["r"][1])
    return float(np.mean(~(np.abs(rho / setup.rho0 - 1) < 0.01)))


_BASE = Case(depth=2.0, n=3, load=0.5, batch=2, noise=1e-5)


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
