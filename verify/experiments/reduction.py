"""C12, C16: identities that hold step by step, to rounding."""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from numerics import sgd, start, streams
from numerics.check import Check, Margin
from numerics.problem import Problem
from numerics.schedule import Constant, StepDecay
from theory.conditions import Situation
from theory.parametrization import named
from verify import oracle
from verify.budget import Budget
from verify.case import Case, Setup
from verify.experiment import Control, Domain, Experiment, exact, sampled
from verify.experiments.common import measured_model

_STEPS = 60
_ROUNDING = 1e-10  # of the path's scale: 60 steps of a contracting map, each some 1e3 operations


def paths(setup: Setup) -> dict[str, np.ndarray]:
    """The same steps in reduced coordinates, in all coordinates and by the definition, eta decayed half way.

    nu, r and the train loss of replicas 0 and 2, ``(3, 2)`` each.
    """
    norm = float(np.linalg.norm(setup.w0))
    full = sgd.FullRadialSGD(setup.problem, setup.parametrization, norm)
    steps, schedule = np.array([0, _STEPS]), StepDecay(setup.eta, _STEPS // 2, 10.0)
    etas = np.where(np.arange(_STEPS) < _STEPS // 2, setup.eta, setup.eta / 10)
    reduced_states, full_states = setup.model.start(projected(setup.model, setup.u0), 3), full.start(setup.u0, 3)
    reduced = sgd.simulate(setup.model, reduced_states, schedule, steps, noise=setup.noise, threads=1)
    sgd.simulate(full, full_states, schedule, steps, noise=setup.noise, threads=1)
    noise = setup.noise
    plain = [
        oracle.sgd_path(
            *(setup.problem.X, setup.problem.y, setup.u0, setup.depth),
            etas=etas,
            batch=noise.batch,
            sigma=noise.sigma,
            seed=noise.seed,
            replica=i,
        )[-1]
        for i in (0, 2)
    ]
    return {
        "reduced": np.stack([reduced[name][-1][[0, 2]] for name in ("nu", "r", "loss")]),
        "full": _summary(setup, full_states[[0, 2]]),
        "definition": _summary(setup, np.array(plain)),
    }


def projected(model: sgd.RadialSGD, u: np.ndarray) -> np.ndarray:
    """The part of u ``(d,)`` in the span of the rows and the direction: all of it, but in the control."""
    return model.reduced.expand(model.reduced.coordinates(u))


def _summary(setup: Setup, u: np.ndarray) -> np.ndarray:
    """nu, r and the train loss of u ``(R, d)``."""
    w = oracle.predictor(u, setup.depth)
    return np.stack([u @ setup.direction, np.linalg.norm(u, axis=1), setup.problem.train_loss(w)])


def same_path(setup: Setup, budget: Budget) -> list[Check]:
    """Reduced = full = definition on shared draws; and nothing depends on the dimension d. Above the limit all
    overflow.
    """
    setup = replace(setup, eta=min(setup.eta, setup.limit))
    found = paths(setup)
    scale = np.abs(found["definition"]).max(axis=1, keepdims=True)
    facts, margin = setup.situation(), Margin(rounding=_ROUNDING)
    reduced = float((np.abs(found["reduced"] - found["definition"]) / scale).max())
    full = float((np.abs(found["full"] - found["definition"]) / scale).max())
    return [
        exact("C12", "reduced against definition", 0.0, reduced, margin=margin, situation=facts),
        exact("C12", "all coordinates against definition", 0.0, full, margin=margin, situation=facts),
        exact("C12", "padded with zero columns", 0.0, _padding(setup), margin=margin, situation=facts),
        *_test_loss(setup),
    ]


def _test_loss(setup: Setup) -> list[Check]:
    """R in the reduced coordinates against R in all of them, at a point of the span."""
    reduced, w = setup.problem.reduced(setup.direction), 0.7 * setup.w0 + setup.direction
    full, small = float(setup.problem.test_loss(w)), float(reduced.test_loss(reduced.coordinates(w)))
    if not np.isfinite(full):
        return []  # no teacher and no held-out rows
    margin = Margin(rounding=1e-11 * full)
    return [exact("C12", "test loss, reduced", full, small, margin=margin, situation=setup.situation())]


def _padding(setup: Setup) -> float:
    """Change of the path when 50 zero columns are appended to X."""
    X = np.pad(setup.problem.X, ((0, 0), (0, 50)))
    wide = Problem(X, setup.problem.y)
    direction = np.pad(setup.direction, (0, 50))
    models = (setup.model, sgd.RadialSGD(wide.reduced(direction), setup.parametrization, setup.model.scale))
    ends = []
    for model, u in zip(models, (setup.u0, np.pad(setup.u0, (0, 50))), strict=True):
        states = model.start(projected(model, u), 1)
        sgd.simulate(model, states, Constant(setup.eta), np.array([0, _STEPS]), noise=setup.noise, threads=1)
        ends.append(states)
    return float(np.abs(ends[0] - ends[1]).max() / np.abs(ends[0]).max())


def product_problem() -> Problem:
    """f = u v with target 1: one row with one non-zero column."""
    return Problem(np.array([[1.0, 0.0]]), np.array([1.0]))


def product_paths(eta: float, sigma: float, steps: np.ndarray, replicas: int, seed: int) -> np.ndarray:
    """u and v ``(steps, R, 2)`` from (2, 1/2)."""
    model = sgd.SeparableSGD(product_problem(), named("diagonal-product", 2), 5.0)  # type: ignore[arg-type]
    states = model.start(np.array([2.0, 0.0, 0.5, 0.0]), replicas)
    rows = [states[:, :, 0].copy()]
    noise = sgd.Noise(1, sigma, seed)
    for begin, end in pairwise(steps):
        sgd.simulate(model, states, Constant(eta), np.array([begin, end]), noise=noise, threads=1)
        rows.append(states[:, :, 0].copy())
    return np.array(rows)


def product_residuals(uv: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """Noisy residual of each step ``(steps, R)``, from consecutive points ``(steps + 1, R, 2)`` and the
    draws' address.
    """
    count, replicas = uv.shape[0] - 1, uv.shape[1]
    draws = [streams.samples(seed=seed, purpose="sgd", replica=i, first=0, count=count)[0] for i in range(replicas)]
    return np.asarray(uv[:-1, :, 0] * uv[:-1, :, 1] - 1.0 - sigma * np.array(draws).T)


def product(setup: Setup, budget: Budget) -> list[Check]:
    """(u^2 - v^2) shrinks by 1 - eta^2 r^2 at every step; E r^2 = sigma^2/(1 - eta h/2) as sigma -> 0."""
    eta, sigma, seed = 0.2 * setup.load_share, 0.3, setup.seed
    uv = product_paths(eta, sigma, np.arange(201), 4, seed)
    r = product_residuals(uv, sigma, seed)
    gap = uv[..., 0] ** 2 - uv[..., 1] ** 2
    error = float(np.abs(gap[1:] - gap[:-1] * (1 - eta**2 * r**2)).max())
    facts = Situation(n=1, d=2, depth=2.0, sigma=sigma, load=eta / 0.47, noise_share=0.0)
    checks = [exact("C16", "u^2 - v^2 step by step", 0.0, error, margin=Margin(rounding=1e-13), situation=facts)]
    return [*checks, _residual_variance(eta, budget, facts, seed)]


def _residual_variance(eta: float, budget: Budget, facts: Situation, seed: int) -> Check:
    """Mean over a stretch of r^2 (1 - eta h/2)/sigma^2, at sigma and, for the model margin, at 2 sigma."""
    values = {}
    for sigma, factor in ((0.04, seed), (0.02, seed + 1)):
        uv = product_paths(eta, sigma, np.arange(400), 128, factor)
        r = product_residuals(uv, sigma, factor)[150:]
        h = np.sum(uv[150:-1] ** 2, axis=2)
        values[sigma] = (r**2 * (1 - eta * h / 2)).mean(axis=0) / sigma**2
    margin = Margin(model=measured_model(values[0.04] - 1, budget, ratio=4.0), resolution=0.12)
    return sampled(
        "C16", "E r^2 (1 - eta h/2)/sigma^2", 1.0, values[0.02], margin=margin, budget=budget, situation=facts
    )


_BASE = Case(depth=3.0, n=3)


def _turned_start(budget: Budget) -> list[Check]:
    """A start outside span(rows, zhat): the reduction's hypothesis dropped."""
    setup = _BASE.setup()
    other = start.null_direction(setup.problem, setup.seed + 1)
    found = paths(setup)
    turned = replace(setup)
    vars(turned)["u0"] = setup.u0 + 0.5 * setup.r0 * other
    different = _summary(setup, np.stack([turned.u0] * 2))
    error = float(np.abs(paths(turned)["definition"] - found["definition"]).max() / np.abs(different).max())
    return [
        exact("C12", "reduced against definition", 0.0, error, margin=Margin(_ROUNDING), situation=setup.situation())
    ]


def _other_draws(budget: Budget) -> list[Check]:
    """Other random numbers: the paths must differ, or they never depended on them."""
    setup = _BASE.setup()
    error = float(np.abs(paths(setup)["full"] - paths(replace(setup, seed=1))["full"]).max())
    return [exact("C12", "same path", 0.0, error, margin=Margin(_ROUNDING), situation=setup.situation())]


def _no_noise_product(budget: Budget) -> list[Check]:
    """Without label noise E r^2 is 0, not sigma^2/(1 - eta h/2)."""
    r = product_residuals(product_paths(0.1, 0.0, np.arange(400), 8, 0), 0.0, 0)[150:]
    facts = Situation(n=1, d=2, depth=2.0, sigma=0.0, load=0.2, noise_share=0.0, noise="none")
    values, margin = (r**2).mean(axis=0) / 0.02**2, Margin(resolution=0.12)
    return [sampled("C16", "E r^2 (1 - eta h/2)/sigma^2", 1.0, values, margin=margin, budget=budget, situation=facts)]


def _small_eta_product(budget: Budget) -> list[Check]:
    """E r^2 = sigma^2, the small-eta value, must be seen to be wrong at eta = 0.2."""
    r = product_residuals(product_paths(0.2, 0.02, np.arange(600), 128, 0), 0.02, 0)[150:]
    facts = Situation(n=1, d=2, depth=2.0, sigma=0.02, load=0.4, noise_share=0.0)
    values, margin = (r**2).mean(axis=0) / 0.02**2, Margin(resolution=0.12)
    return [sampled("C16", "E r^2 / sigma^2", 1.0, values, margin=margin, budget=budget, situation=facts)]


EXPERIMENTS = (
    Experiment(
        "C16",
        "product identity",
        product,
        (Case(load=0.5), Case(load=0.9, seed=3)),
        (Control("no label noise", _no_noise_product), Control("small-eta value at a large eta", _small_eta_product)),
        comparisons=2,
    ),
    Experiment(
        "C12",
        "one path",
        same_path,
        (_BASE, Case(depth=1.5, n=4, batch=3), Case(depth=2.0, spectrum="diabetes")),
        (Control("start outside the span", _turned_start), Control("other draws", _other_draws)),
        domain=Domain(depths=(1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0), batches=(1, 2, 3, 5), noises=(1e-4, 1e-2)),
        examples=10,
        own_data=True,
    ),
)
