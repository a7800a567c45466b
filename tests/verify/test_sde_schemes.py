"""Both schemes for the stochastic differential equation against their definition, on the same draws."""

from collections.abc import Iterator
from itertools import count, product

import numpy as np
import pytest

from numerics import streams
from numerics.dynamics import EulerMaruyama, WeakSecondOrder, compact
from numerics.sde_law import sde_moment
from numerics.specialise import specialise
from tests.verify.truth import BATCH, ETA, REPLICA, SEED, SIGMA, STEPS, FloatArray, Truth, block, few, simulated
from verify.case import Case, Setup, radial


def normals(per_step: int) -> Iterator[FloatArray]:
    """Normals of one step after another, from a stream of which nothing else is wanted."""
    for k in count():
        yield streams.normals(seed=SEED, purpose="sgd", replica=REPLICA, first=k * per_step, count=per_step)


def naive_sde(truth: Truth, u: FloatArray, eta: float, corrected: bool) -> FloatArray:
    """Euler-Maruyama with a symmetric n x n root in place of the kernel's rank-one form."""
    n = truth.problem.n
    source = normals(n)
    for _ in range(STEPS):
        xi = next(source)
        A, e = truth.rows(u), truth.residual(u)
        force = truth.corrected(u, eta) if corrected else truth.gradient(u)
        a = np.sqrt((e**2 + SIGMA**2) / n)
        v = e / (n * a)
        share = v @ v
        root = np.eye(n) - (1 - np.sqrt(1 - share)) / share * np.outer(v, v)
        covariance = np.diag(a) @ root @ root @ np.diag(a)
        np.testing.assert_allclose(covariance, np.diag(a**2) - np.outer(e, e) / n**2, atol=1e-12)
        u = u - ETA * force + np.sqrt(ETA * eta / BATCH) * (a * (root @ xi)) @ A
    return u


@few
@pytest.mark.parametrize("corrected", [False, True])
def test_sde_is_its_definition(truth: Truth, corrected: bool) -> None:
    model = EulerMaruyama(truth.problem, truth.kind, 10.0, 0.05, corrected)
    start = 1.1 * truth.u
    states = simulated(model, model.start(start, REPLICA + 1))
    expected = naive_sde(truth, start, 0.05, corrected)
    np.testing.assert_allclose(states[REPLICA], expected, rtol=1e-6 if corrected else 1e-11)


def test_compact_coordinates_give_the_same_path(setup: Setup) -> None:
    reduced = setup.problem.reduced(setup.direction)
    model = EulerMaruyama(setup.problem, setup.parametrization, 10.0, 0.05, False)
    small = EulerMaruyama(compact(reduced), setup.parametrization, 10.0, 0.05, False)
    full = simulated(model, model.start(setup.u0, 1))
    few = simulated(small, small.start(reduced.coordinates(setup.u0), 1))
    np.testing.assert_allclose(reduced.expand(few), full, rtol=1e-10, atol=1e-12)


def naive_second_order(
    truth: Truth, u: FloatArray, h: float, one: FloatArray, two: FloatArray, corrected: bool
) -> FloatArray:
    """One step of RI6 as the paper writes it, with the noise's columns from a symmetric n x n root."""
    n, eta = truth.problem.n, 0.05

    def drift(v: FloatArray) -> FloatArray:
        return -(truth.corrected(v, eta) if corrected else truth.gradient(v))

    def columns(v: FloatArray) -> FloatArray:
        A, e = truth.rows(v), truth.residual(v)
        a = np.sqrt((e**2 + SIGMA**2) / n)
        w = e / (n * a)
        root = np.eye(n) - (1 - np.sqrt(1 - w @ w)) / (w @ w) * np.outer(w, w)
        return np.sqrt(eta / BATCH) * (A.T * a) @ root

    def column(k: int, v: FloatArray) -> FloatArray:
        return columns(v)[:, k]

    a0, b0 = drift(u), columns(u)
    out = u + h / 2 * (a0 + drift(u + h * a0 + b0 @ one))
    for k in range(n):
        up, down = (column(k, u + h * a0 + sign * np.sqrt(h) * b0[:, k]) for sign in (1, -1))
        out = out + (b0[:, k] / 2 + up / 4 + down / 4) * one[k] + (up - down) / 2 * (one[k] ** 2 - h) / 2 / np.sqrt(h)
        mixed = [
            (one[k] * one[m] + np.sqrt(h) * (-two[k] if k < m else two[m])) / 2 / np.sqrt(h) if m != k else 0.0
            for m in range(n)
        ]
        up, down = (column(k, u + sign * b0 @ np.array(mixed)) for sign in (1, -1))
        out = out + (up / 4 + down / 4 - b0[:, k] / 2) * one[k] + (up - down) / 2 * np.sqrt(h)
    return out


@few
@pytest.mark.parametrize("corrected", [False, True])
def test_weak_second_order_is_its_definition(truth: Truth, corrected: bool) -> None:
    model = WeakSecondOrder(truth.problem, truth.kind, 10.0, 0.05, corrected)
    u = 1.1 * truth.u
    states = simulated(model, model.start(u, REPLICA + 1))
    n = truth.problem.n
    for k in range(STEPS):
        words = [block(k * n + b)[0] for b in range(n)]
        one = np.array([np.sqrt(3 * ETA) * (-1.0 if w[2] < 2**32 / 6 else float(w[2] > 5 * 2**32 / 6)) for w in words])
        two = np.array([np.sqrt(ETA) * (1.0 if w[3] < 2**31 else -1.0) for w in words])
        u = naive_second_order(truth, u, ETA, one, two, corrected)
    np.testing.assert_allclose(states[REPLICA], u, rtol=1e-6 if corrected else 1e-11)


def test_one_step_of_the_scheme_of_second_weak_order_errs_in_the_third_order() -> None:
    """D = 1, n = 2, over all 36 values of its increments: E q q^T against the exact moment of the equation."""
    problem = Case(n=2, depth=1.0, extra=2, seed=3).setup().problem
    kernel = specialise("sde_second", radial(1.0))
    K, eta, u = problem.gram, 0.3, problem.w_mn + 0.4
    q0 = problem.X @ u - problem.y
    errors = []
    for h in (0.04, 0.02, 0.01):
        mean = np.zeros((2, 2))
        for values in product((-1, 0, 1), (-1, 0, 1), (-1, 1), (-1, 1)):
            one, two = np.sqrt(3 * h) * np.array(values[:2], float), np.sqrt(h) * np.array(values[2:], float)
            weight = np.prod([2 / 3 if x == 0 else 1 / 6 for x in values[:2]]) / 4
            v = u.copy()
            kernel.step(v, problem.X, problem.y, h, eta, True, 1, 0.7, one, two)
            q = problem.X @ v - problem.y
            mean += weight * np.outer(q, q)
        exact = sde_moment(K, np.outer(q0, q0), eta=eta, batch=1, sigma=0.7, time=h, corrected=True)
        errors.append(np.abs(mean - exact).max())
    assert np.all(np.abs(np.log2(np.array(errors[:-1]) / errors[1:]) - 3) < 0.2)
