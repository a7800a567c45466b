"""C1, C15: gradient flow saturates at a bounded rate; the landscape at the minima it reaches."""

from dataclasses import replace

import numpy as np

from numerics import start
from numerics.check import Check, Margin
from verify import oracle
from verify.budget import Budget
from verify.case import Case, Setup
from verify.experiment import Control, Domain, Experiment, exact

_FLOOR = 1e-4  # of the starting loss: where saturation is timed
_RESOLVED = 1e-6  # of the starting loss: below it the flow's own tolerance shows
_FLOW = 1e-6  # relative error of the integrated loss above that level


def rate_bound(setup: Setup, path: np.ndarray) -> np.ndarray:
    """lambda_min(r^(2D-2) X X^T)/n along a path ``(times, d)``, the claim's lower bound on lambda_min(K)/n."""
    least = np.linalg.eigvalsh(setup.problem.gram)[0] / setup.problem.n
    return np.asarray(np.linalg.norm(path, axis=1) ** (2 * setup.depth - 2) * least)


def flow(setup: Setup, *, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, path ``(times, d)`` and losses of gradient flow from a random start until the loss is far
    below the floor.
    """
    u = start.random_start(setup.problem, scale * setup.r0, setup.seed)
    typical = np.linalg.eigvalsh(setup.kernel0)[0] / setup.problem.n
    times = np.linspace(0, 12 / typical, 400)
    path = oracle.gradient_flow(setup.problem.X, setup.problem.y, u, setup.depth, times)
    w = oracle.predictor(path, setup.depth)
    return times, path, setup.problem.train_loss(w)


def saturation(setup: Setup, budget: Budget) -> list[Check]:
    """The loss lies below L_0 exp(-2 mu t) throughout, and the bound on K holds at a random point."""
    times, path, loss = flow(setup, scale=1.3)
    mu = np.minimum.accumulate(rate_bound(setup, path))
    early = loss > _RESOLVED * loss[0]
    excess = float(np.max(loss[early] / loss[0] * np.exp(2 * mu[early] * times[early])))
    reached = np.flatnonzero(loss <= _FLOOR * loss[0])
    facts = setup.situation()
    checks = [exact("C1", "L exp(2 mu t) / L_0", 1.0, excess, margin=Margin(_FLOW), situation=facts, side="upper")]
    if reached.size:
        i = reached[0]
        bound = float(np.log(loss[0] / loss[i]) / (2 * mu[i]))
        margin = Margin(_FLOW * bound)
        checks.append(exact("C1", "time to the floor", bound, times[i], margin=margin, situation=facts, side="upper"))
    return [*checks, *kernel_off_manifold(setup)]


def kernel_off_manifold(setup: Setup) -> list[Check]:
    """K at a random point: its formula, and K - r^(2D-2) X X^T positive semidefinite."""
    X, D = setup.problem.X, setup.depth
    u = start.random_start(setup.problem, setup.r0, setup.seed + 1)
    r, K = np.linalg.norm(u), oracle.tangent_kernel(X, u, D)
    tip = X @ u / r
    formula = r ** (2 * D - 2) * (X @ X.T + (D**2 - 1) * np.outer(tip, tip))
    error = float(np.abs(formula - K).max() / np.abs(K).max())
    least = float(np.linalg.eigvalsh(K - r ** (2 * D - 2) * X @ X.T)[0] / np.abs(K).max())
    facts, margin = setup.situation(), Margin(rounding=1e-12)
    return [
        exact("C1", "K off the manifold", 0.0, error, margin=margin, situation=facts),
        exact("C1", "least eigenvalue of the excess", 0.0, least, margin=margin, situation=facts, side="lower"),
    ]


def landscape(setup: Setup, budget: Budget) -> list[Check]:
    """Nullity d - n at w_mn, Hessian A^T A/n, half-widths of {L <= eps} and their narrowing with the norm."""
    problem, D = setup.problem, setup.depth
    u = start.radial_from_predictor(problem.w_mn, setup.manifold.radius(0.0))
    hessian = oracle.train_hessian(problem.X, problem.y, u, D)
    values = np.linalg.eigvalsh(hessian)
    nullity = int(np.sum(np.abs(values) < 1e-6 * values[-1]))
    top = np.linalg.eigvalsh(setup.manifold.kernel(0.0)) / problem.n
    error = float(np.abs(values[-problem.n :] - top).max() / top[-1])
    facts = setup.situation()
    return [
        exact("C15", "nullity", problem.d - problem.n, nullity, margin=Margin(), situation=facts),
        exact("C15", "eigenvalues K/n", 0.0, error, margin=Margin(rounding=1e-7), situation=facts),
        *half_widths(setup, u, hessian),
    ]


def half_widths(setup: Setup, u: np.ndarray, hessian: np.ndarray) -> list[Check]:
    """Mean half-width along the steepest normal at two levels: its error shrinks with sqrt(eps), so that margin is
    measured.
    """
    D = setup.depth
    value, vectors = np.linalg.eigh(hessian)
    ratios = [_width(setup, u, vectors[:, -1], level) / np.sqrt(2 * level / value[-1]) for level in (1e-6, 1e-8)]
    margin = Margin(rounding=1e-5, model=abs(ratios[0] - 1) / 10)
    wide = setup.manifold.kernel(setup.rho0)[0, 0] - _label_part(setup)
    narrow = (setup.r0 / setup.manifold.radius(0.0)) ** (2 * D - 2)
    at_rest = setup.manifold.kernel(0.0)[0, 0] - _label_part(replace(setup, rho0=0.0))
    facts = setup.situation()
    return [
        exact("C15", "half-width / sqrt(2 eps/lambda)", 1.0, ratios[1], margin=margin, situation=facts),
        exact("C15", "narrowing with norm", narrow, wide / at_rest, margin=Margin(1e-10 * narrow), situation=facts),
        exact("C15", "valleys narrow", 1.0, _strictly(wide / at_rest), margin=Margin(), situation=facts, side="lower"),
    ]


def _label_part(setup: Setup) -> float:
    """The entry of (D^2 - 1) r^-2 y y^T, which widens as the norm grows and is no part of the narrowing."""
    r = setup.manifold.radius(setup.rho0)
    return float((setup.depth**2 - 1) / r**2 * setup.problem.y[0] ** 2)


def _strictly(ratio: float) -> float:
    return 1.0 if ratio > 1 + 1e-9 else 0.0


def _width(setup: Setup, u: np.ndarray, direction: np.ndarray, level: float) -> float:
    """Mean distance to either side at which L reaches the level, by bisection."""
    loss = lambda t: float(setup.problem.train_loss(oracle.predictor(u + t * direction, setup.depth)))  # noqa: E731
    sides = []
    for sign in (1.0, -1.0):
        low, high = 0.0, float(np.linalg.norm(u)) / 10
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if loss(sign * middle) < level else (low, middle)
        sides.append(low)
    return sum(sides) / 2


_BASE = Case(depth=3.0, n=3, extra=4)


def _rate_of_the_start(budget: Budget) -> list[Check]:
    """mu at the start instead of the infimum: fails where the norm shrinks on the way."""
    setup = _BASE.setup()
    times, path, loss = flow(setup, scale=2.5)
    mu = rate_bound(setup, path)[0]
    early = loss > _RESOLVED * loss[0]
    excess = float(np.exp(np.clip(np.log(loss[early] / loss[0]) + 2 * mu * times[early], None, 700.0).max()))
    facts = setup.situation()
    return [exact("C1", "L exp(2 mu_0 t) / L_0", 1.0, excess, margin=Margin(_FLOW), situation=facts, side="upper")]


def _contradictory_labels(budget: Budget) -> list[Check]:
    """One input twice with two labels: there is no manifold of minima and the loss stops at a positive value."""
    setup = _BASE.setup()
    X = np.vstack([setup.problem.X, setup.problem.X[:1]])
    y = np.append(setup.problem.y, setup.problem.y[0] + 1.0)
    times = np.linspace(0, 40 / np.linalg.eigvalsh(setup.kernel0)[0], 50)
    path = oracle.gradient_flow(X, y, setup.u0, setup.depth, times)
    residual = X @ oracle.predictor(path[-1], setup.depth) - y
    facts = setup.situation(consistent=False)
    loss = float(np.mean(residual**2) / 2)
    return [exact("C1", "loss at the end", 0.0, loss, margin=Margin(_FLOW), situation=facts, side="upper")]


def _linear_valleys(budget: Budget) -> list[Check]:
    return landscape(replace(_BASE, depth=1.0).setup(), budget)


def _wrong_depth(budget: Budget) -> list[Check]:
    setup = _BASE.setup()
    wrong = replace(setup, depth=2.0)
    top = np.linalg.eigvalsh(wrong.manifold.kernel(0.0))[-1]
    u = start.radial_from_predictor(setup.problem.w_mn, setup.manifold.radius(0.0))
    right = np.linalg.eigvalsh(oracle.tangent_kernel(setup.problem.X, u, setup.depth))[-1]
    facts = setup.situation()
    return [exact("C15", "top eigenvalue", top, right, margin=Margin(1e-7 * right), situation=facts)]


EXPERIMENTS = (
    Experiment(
        "C1",
        "saturation",
        saturation,
        (_BASE, Case(depth=2.0, n=4, spectrum="power law"), Case(depth=1.0, n=3)),
        (
            Control("mu of the start, not the infimum", _rate_of_the_start),
            Control("no interpolation", _contradictory_labels),
        ),
        domain=Domain(depths=(1.0, 1.5, 2.0, 2.5, 3.0), largest_n=4),
        examples=10,
    ),
    Experiment(
        "C15",
        "landscape",
        landscape,
        (_BASE, Case(depth=2.0, n=4), Case(depth=2.5, n=2)),
        (Control("D = 1", _linear_valleys), Control("wrong depth", _wrong_depth)),
        domain=Domain(largest_n=4),
        examples=10,
    ),
)
