"""C14: weak orders of the SDE, exactly for the linear model, and its simulators, of first and second order, against
both.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np

from numerics import sgd
from numerics.check import Check, Margin
from numerics.dynamics import EulerMaruyama, WeakSecondOrder, compact
from numerics.moments import SdeMoments
from numerics.ray_law import RayLaw
from numerics.schedule import Constant
from numerics.sde_law import sde_moment, sgd_moment
from numerics.specialise import specialise
from verify import oracle
from verify.budget import Budget, of_means, sequential
from verify.case import Case, Setup
from verify.experiment import Control, Domain, Experiment, exact, sampled
from verify.experiments.common import THREADS
from verify.orders import Order, order

_SUBSTEPS = 16
_CHANGE = 0.1  # of ln rho along the minima


def linear(setup: Setup) -> Setup:
    """D = 1 at the same share of its stability limit, label noise 0.3."""
    flat = replace(setup, depth=1.0, sigma=0.3)
    return replace(flat, eta=setup.load_share * flat.limit)


def horizon(setup: Setup) -> float:
    """Two relaxation times of the fastest residual: the fixed time at which weak errors are compared."""
    return float(2 * setup.problem.n / np.linalg.eigvalsh(setup.problem.gram)[-1])


def weak_error(setup: Setup, steps: int, *, corrected: bool) -> float:
    """|C_SDE - C_SGD| at the horizon, reached in so many steps of SGD from q = y, over the start's |y|^2."""
    K, y, time = setup.problem.gram, setup.problem.y, horizon(setup)
    settings = {"eta": time / steps, "batch": setup.batch, "sigma": setup.sigma}
    sgd_end = sgd_moment(K, np.outer(y, y), **settings, steps=steps)
    sde_end = sde_moment(K, np.outer(y, y), **settings, time=time, corrected=corrected)
    return float(np.linalg.norm(sde_end - sgd_end) / (y @ y))


def weak_order(setup: Setup, *, corrected: bool) -> Order:
    """Errors at eta halved five times, exactly, from a small share of the limit."""
    fewest = int(np.ceil(horizon(setup) / (0.05 * setup.limit)))
    steps = [fewest * 2**i for i in range(6)]
    errors = [weak_error(setup, count, corrected=corrected) for count in steps]
    etas = horizon(setup) / np.array(steps)
    name = "weak error of the SDE, corrected drift" if corrected else "weak error of the SDE"
    return order(name, etas, errors, np.zeros(6), 2.0 if corrected else 1.0)


def orders(setup: Setup, budget: Budget) -> list[Check]:
    """The local slope between the two smallest eta: 1, and 2 with the corrected drift; first-order
    deviation measured.
    """
    flat, checks = linear(setup), []
    for corrected in (False, True):
        measured = weak_order(flat, corrected=corrected)
        local = -np.diff(np.log2(measured.errors))
        margin = Margin(rounding=1e-3, model=abs(local[-2] - measured.expected))
        name = "weak order, corrected drift" if corrected else "weak order"
        facts = flat.situation()
        checks.append(exact("C14", name, measured.expected, float(local[-1]), margin=margin, situation=facts))
    return checks


def moments_agree(setup: Setup, budget: Budget) -> list[Check]:
    """The SGD moment is the definition's map; as eta -> 0 at fixed time both moments tend to gradient flow's."""
    flat = linear(setup)
    K, y = flat.problem.gram, flat.problem.y
    n, C0 = flat.problem.n, np.outer(y, y)
    mine = sgd_moment(K, C0, eta=flat.eta, batch=flat.batch, sigma=0.0, steps=3)
    want = (np.linalg.matrix_power(oracle.second_moment_map(K, flat.eta, flat.batch), 3) @ C0.ravel()).reshape(n, n)
    rest = sgd_moment(K, C0, eta=flat.eta, batch=flat.batch, sigma=flat.sigma, steps=10**6)
    floor = oracle.stationary_covariance(K, flat.eta, flat.batch, flat.sigma)
    facts = flat.situation()
    return [
        exact("C14", "SGD moment, three steps", 0.0, _relative(mine, want), margin=Margin(1e-11), situation=facts),
        exact("C14", "SGD moment at rest", 0.0, _relative(rest, floor), margin=Margin(1e-7), situation=facts),
    ]


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


def simulated(setup: Setup, *, corrected: bool, substeps: int, replicas: int, steps: int, seed: int) -> np.ndarray:
    """Train loss ``(R,)`` of Euler-Maruyama after the time of `steps` steps of SGD, from 1.2 times the start."""
    reduced = setup.problem.reduced(setup.direction)
    model = EulerMaruyama(compact(reduced), setup.parametrization, setup.model.scale, setup.eta, corrected)
    states = model.start(1.2 * reduced.coordinates(setup.u0), replicas)
    noise = replace(setup.noise, seed=seed)
    grid = np.array([0, steps * substeps])
    table = sgd.simulate(model, states, Constant(setup.eta / substeps), grid, noise=noise, threads=THREADS)
    return np.asarray(table["loss"][-1])


def euler_maruyama(setup: Setup, budget: Budget) -> list[Check]:
    """D = 1: the simulated SDE's mean loss is the moment equation's; the margin for its time step is measured at
    the double.
    """
    flat, checks = linear(setup), []
    steps, replicas = 12, 16384
    q = 1.2 * flat.problem.X @ flat.u0 - flat.problem.y
    settings = {"eta": flat.eta, "batch": flat.batch, "sigma": flat.sigma}
    for corrected in (False, True):
        C = sde_moment(flat.problem.gram, np.outer(q, q), **settings, time=steps * flat.eta, corrected=corrected)
        want = float(np.trace(C) / (2 * flat.problem.n))
        run = {"corrected": corrected, "replicas": replicas, "steps": steps}
        fine = simulated(flat, **run, substeps=_SUBSTEPS, seed=flat.seed)
        rough = simulated(flat, **run, substeps=_SUBSTEPS // 4, seed=flat.seed + 1)
        margin = Margin(model=abs(float(rough.mean()) - want) / 3, resolution=0.12 * want)
        name = f"mean loss of the SDE, order {1 + corrected}"
        facts = flat.situation()
        checks.append(sampled("C14", name, want, fine, margin=margin, budget=budget, situation=facts))
    return checks


def step_covariance(setup: Setup, budget: Budget) -> list[Check]:
    """One step from residuals large against sigma has the covariance that rows and labels drawn give,
    exactly.

    That is (dt eta/B)[K diag(e^2 + sigma^2) K/n - K e e^T K/n^2]. Tested sequentially on products of the
    components of q, D = 1.
    """
    flat = linear(setup)
    problem, n, K = flat.problem, flat.problem.n, flat.problem.gram
    e = np.ones(n) + 0.2 * np.arange(n)
    u = flat.w0 + np.linalg.lstsq(problem.X, e, rcond=None)[0]
    noise = K @ (np.diag(e**2 + flat.sigma**2) / n - np.outer(e, e) / n**2) @ K * flat.eta**2 / flat.batch
    mean = e - flat.eta * K @ e / n
    i, j = np.triu_indices(n)
    model = EulerMaruyama(problem, flat.parametrization, float(np.linalg.norm(u)), flat.eta, False)

    def p_value(stage: int, size: int) -> float:
        states = model.start(u, size)
        seeded = replace(flat.noise, seed=flat.seed + 1000 * (stage + 1))
        sgd.simulate(model, states, Constant(flat.eta), np.array([0, 1]), noise=seeded, threads=THREADS)
        q = (states @ problem.X.T - problem.y - mean).T
        return of_means(q[i] * q[j], noise[i, j])

    outcome = sequential(p_value, level=budget.level, size=4096)
    facts = flat.situation()
    return [exact("C14", "noise of one step (sequential)", 1.0, outcome.passed, margin=Margin(), situation=facts)]


def _second_order_tree(flat: Setup, u: np.ndarray, h: float) -> list[tuple[float, np.ndarray]]:
    """Every outcome of one step of the second-order scheme from u, with its probability: its draws take few values."""
    kernel, n, found = specialise("sde_second", flat.parametrization), flat.problem.n, []
    for values in product(*[(-1.0, 0.0, 1.0)] * n, *[(-1.0, 1.0)] * n):
        one, two = np.sqrt(3 * h) * np.array(values[:n]), np.sqrt(h) * np.array(values[n:])
        weight = float(np.prod([2 / 3 if x == 0 else 1 / 6 for x in values[:n]])) / 2**n
        v = u.copy()
        kernel.step(v, flat.problem.X, flat.problem.y, h, flat.eta, True, flat.batch, flat.sigma, one, two)
        found.append((weight, v))
    return found


def _euler_tree(flat: Setup, u: np.ndarray, h: float) -> list[tuple[float, np.ndarray]]:
    """The same of Euler and Maruyama with the two-valued draws that have the first moments of the Gaussian ones."""
    X, y, n = flat.problem.X, flat.problem.y, flat.problem.n
    e, H = X @ u - y, flat.problem.gram / flat.problem.n
    force = X.T @ (e + flat.eta / 2 * H @ e) / n
    root = np.linalg.cholesky(np.diag(e**2 + flat.sigma**2) / n - np.outer(e, e) / n**2)
    size = np.sqrt(h * flat.eta / flat.batch)
    return [(0.5**n, u - h * force + size * X.T @ root @ np.array(signs)) for signs in product((-1.0, 1.0), repeat=n)]


def on_ray(setup: Setup, corrected: bool) -> tuple[RayLaw, Setup]:
    """The law of the equation on the ray, and the setup with the label noise that the case wants of it."""
    eta = min(setup.eta, 0.5 * SdeMoments(setup.batch, 1.0, corrected).limit(setup.kernel0))
    C = SdeMoments(setup.batch, 1.0, corrected).stationary(setup.kernel0, eta).covariance
    assert setup.case is not None
    share = np.trace(np.linalg.solve(setup.kernel0, C)) / setup.r0**2
    quiet = replace(setup, eta=eta, sigma=float(np.sqrt(setup.case.noise / share)))
    return RayLaw(quiet.manifold, SdeMoments(quiet.batch, quiet.sigma, corrected), corrected=corrected), quiet


def ray_changes(
    setup: Setup, law: RayLaw, *, substeps: int, seed: int, assumed: RayLaw | None = None
) -> tuple[float, np.ndarray]:
    """Change of ln rho after burn-in, predicted (by the law ``assumed``) and of the second-order scheme ``(R,)``."""
    burn = int(np.ceil(8 * law.relaxation(setup.rho0, setup.eta)))
    length = max(int(_CHANGE / abs(law.log_rate(setup.rho0, setup.eta))), 1)
    steps = np.array([0, burn, burn + length])
    path = (assumed or law).path(setup.rho0, setup.eta, steps)
    reduced, settings = setup.problem.reduced(setup.direction), (setup.model.scale, setup.eta, law.corrected)
    model = WeakSecondOrder(compact(reduced), setup.parametrization, *settings)
    states = model.start(reduced.coordinates(setup.u0), 32)
    noise, schedule = replace(setup.noise, seed=seed), Constant(setup.eta / substeps)
    table = sgd.simulate(model, states, schedule, steps * substeps, noise=noise, threads=THREADS)
    log_rho = np.log(setup.manifold.relaxed(table["nu"][1:], table["r"][1:]))
    return float(np.log(path.rho[2] / path.rho[1])), np.asarray(log_rho[1] - log_rho[0])


def drift(setup: Setup, budget: Budget) -> list[Check]:
    """The equation's drift along the minima, plain and corrected; the scheme's error is measured at twice the step."""
    checks = []
    for corrected in (False, True):
        law, quiet = on_ray(setup, corrected)
        want, fine = ray_changes(quiet, law, substeps=4, seed=quiet.seed)
        _, rough = ray_changes(quiet, law, substeps=2, seed=quiet.seed + 1)
        error = abs(float(rough.mean() - fine.mean())) + budget.critical(32) * _sem(rough, fine)
        margin = Margin(model=error / 3, resolution=0.06 * abs(want))
        name = f"change of ln rho, SDE of order {1 + corrected}"
        facts = quiet.situation(noise_share=setup.noise_share)
        checks.append(sampled("C14", name, want, fine, margin=margin, budget=budget, situation=facts))
    return checks


Tree = Callable[[Setup, np.ndarray, float], list[tuple[float, np.ndarray]]]


def scheme_error(flat: Setup, tree: Tree, steps: int) -> float:
    """|E q q^T - that of the equation|, relative, after two steps of SGD's time in so many of the scheme's: exact, over
    every sequence of its draws.
    """
    time = 2 * flat.eta
    start = flat.w0 + np.linalg.lstsq(flat.problem.X, 1.0 + np.arange(flat.problem.n), rcond=None)[0]
    branches = [(1.0, start)]
    for _ in range(steps):
        branches = [(p * q, v) for p, u in branches for q, v in tree(flat, u, time / steps)]
    residuals = [(p, flat.problem.X @ v - flat.problem.y) for p, v in branches]
    q = flat.problem.X @ start - flat.problem.y
    settings = {"eta": flat.eta, "batch": flat.batch, "sigma": flat.sigma}
    exact_moment = sde_moment(flat.problem.gram, np.outer(q, q), **settings, time=time, corrected=True)
    return float(np.linalg.norm(sum(p * np.outer(r, r) for p, r in residuals) - exact_moment) / (q @ q))


def schemes(setup: Setup, budget: Budget) -> list[Check]:
    """Weak orders of the schemes in their own time step, without sampling: one and two."""
    flat, checks = linear(setup), []
    kinds: tuple[tuple[str, Tree, float], ...] = (
        ("Euler and Maruyama", _euler_tree, 1.0),
        ("second order", _second_order_tree, 2.0),
    )
    for name, tree, expected in kinds:
        errors = [scheme_error(flat, tree, steps) for steps in (1, 2, 3)]
        first = np.log(errors[0] / errors[1]) / np.log(2)
        last = float(np.log(errors[1] / errors[2]) / np.log(3 / 2))
        margin = Margin(rounding=1e-6, model=abs(float(first) - expected))
        checks.append(exact("C14", f"weak order, {name}", expected, last, margin=margin, situation=flat.situation()))
    return checks


def deep(setup: Setup, budget: Budget) -> list[Check]:
    """D > 1: mean loss of SGD against the second-order SDE's, errors of second order in eta measured at the double."""
    found = []
    for factor, seed in ((2, setup.seed + 1), (1, setup.seed)):
        scaled = replace(setup, eta=setup.eta * factor)
        steps, replicas = 16 // factor, 8192
        states = scaled.model.start(1.2 * scaled.u0, replicas)
        grid, noise = np.array([0, steps]), replace(scaled.noise, seed=seed)
        table = sgd.simulate(scaled.model, states, Constant(scaled.eta), grid, noise=noise, threads=THREADS)
        sde = simulated(scaled, corrected=True, substeps=_SUBSTEPS, replicas=replicas, steps=steps, seed=seed + 50)
        found.append((table["loss"][-1], sde))
    rough = abs(float(found[0][0].mean() - found[0][1].mean()))
    mean = float(found[1][0].mean())
    margin = Margin(model=rough / 4 + budget.critical(8192) * _sem(*found[0]) / 4, resolution=0.25 * mean)
    facts = setup.situation()
    values = found[1][0] - found[1][1]
    return [sampled("C14", "E L, SGD minus SDE, D > 1", 0.0, values, margin=margin, budget=budget, situation=facts)]


def _sem(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.std(a - b, ddof=1) / np.sqrt(a.size))


BASE = Case(depth=2.0, n=3, load=0.1, batch=2, noise=1e-2)
_RAY = Case(depth=2.0, n=2, load=0.4, noise=3e-4)
_PAIR = Case(depth=2.0, n=2, load=0.1, batch=2)


def _uncorrected(budget: Budget) -> list[Check]:
    """Second order without the corrected drift: must fail."""
    flat = linear(BASE.setup())
    local = float(-np.diff(np.log2(weak_order(flat, corrected=False).errors))[-1])
    return [exact("C14", "weak order", 2.0, local, margin=Margin(model=0.15), situation=flat.situation())]


def _first_order_scheme(budget: Budget) -> list[Check]:
    """Euler and Maruyama taken for a scheme of second order."""
    flat = linear(_PAIR.setup())
    last = float(np.log(scheme_error(flat, _euler_tree, 2) / scheme_error(flat, _euler_tree, 3)) / np.log(3 / 2))
    return [exact("C14", "weak order", 2.0, last, margin=Margin(model=0.3), situation=flat.situation())]


def _potential_ignored(budget: Budget) -> list[Check]:
    """The corrected equation's drift without what |grad L|^2 adds to it."""
    law, quiet = on_ray(_RAY.setup(), True)
    want, found = ray_changes(quiet, law, substeps=4, seed=quiet.seed, assumed=replace(law, corrected=False))
    margin, facts = Margin(resolution=0.06 * abs(want)), quiet.situation()
    return [sampled("C14", "change of ln rho", want, found, margin=margin, budget=budget, situation=facts)]


def _noise_of_another_eta(budget: Budget) -> list[Check]:
    """The SDE's noise not scaled by sqrt(eta): the moment must differ."""
    flat = linear(BASE.setup())
    q = flat.problem.y
    settings = {"batch": flat.batch, "sigma": flat.sigma, "time": 12 * flat.eta, "corrected": False}
    right = np.trace(sde_moment(flat.problem.gram, np.outer(q, q), eta=flat.eta, **settings))
    wrong = np.trace(sde_moment(flat.problem.gram, np.outer(q, q), eta=2 * flat.eta, **settings))
    return [exact("C14", "tr C", right, wrong, margin=Margin(model=0.02 * right), situation=flat.situation())]


EXPERIMENTS = (
    Experiment(
        "C14",
        "weak orders",
        orders,
        (BASE, Case(n=4, batch=4, load=0.1, spectrum="power law")),
        (
            Control("uncorrected drift at second order", _uncorrected),
            Control("noise of another eta", _noise_of_another_eta),
        ),
    ),
    Experiment(
        "C14", "moments", moments_agree, (BASE, Case(n=4, load=0.5)), (), domain=Domain(loads=(0.1, 0.7)), examples=15
    ),
    Experiment("C14", "Euler-Maruyama", euler_maruyama, (BASE, Case(n=4, batch=1, load=0.1)), (), comparisons=2),
    Experiment(
        "C14",
        "weak orders of the schemes",
        schemes,
        (_PAIR, Case(n=2, load=0.05, spectrum="power law")),
        (Control("scheme of first order for one of second", _first_order_scheme),),
    ),
    Experiment(
        "C14",
        "drift along the minima",
        drift,
        (_RAY,),
        (Control("potential of the corrected drift ignored", _potential_ignored),),
        comparisons=2,
    ),
    Experiment("C14", "noise of one step", step_covariance, (BASE, Case(n=2, load=0.1)), (), comparisons=1),
    Experiment(
        "C14", "SGD against SDE, D > 1", deep, (BASE, Case(depth=3.0, n=2, load=0.08, noise=1e-2)), (), comparisons=1
    ),
)
