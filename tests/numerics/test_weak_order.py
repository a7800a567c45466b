"""Weak orders of the schemes for the SDE on a coordinatewise parametrization, without sampling.

One parameter, w = u^3, two rows that contradict each other, so that both columns of the noise act. A step is a matrix:
functions of u are polynomials on Chebyshev's nodes, and the mean over a step's draws is a quadrature.
"""

from itertools import product

import numpy as np
import pytest

from numerics.specialise import specialise
from theory.parametrization import named

X, Y, SIGMA, BATCH = np.array([[1.0], [0.8]]), np.array([1.2, 0.7]), 0.15, 1
LOW, HIGH, DEGREE = 0.5, 1.5, 32
NODES = np.cos(np.pi * np.arange(DEGREE + 1) / DEGREE)
POINTS = LOW + (HIGH - LOW) * (NODES + 1) / 2
TO_COEFFICIENTS = np.linalg.inv(np.polynomial.chebyshev.chebvander(NODES, DEGREE))
START, TIME = 0.9, 0.32
HERMITE, SHARES = np.polynomial.hermite_e.hermegauss(10)
SHARES = SHARES / SHARES.sum()
KIND = named("coordinatewise", 3)


def basis(u):
    """Values at u of the polynomials that are 1 at one node and 0 at the others."""
    x = 2 * (np.atleast_1d(u) - LOW) / (HIGH - LOW) - 1
    return np.polynomial.chebyshev.chebvander(x, DEGREE) @ TO_COEFFICIENTS


def operator(outcomes):
    """Matrix of phi -> E phi(u after a step), from (weight, u) of the outcomes from a point."""
    rows = []
    for point in POINTS:
        weights, ends = np.array(list(outcomes(point))).T
        rows.append(weights @ basis(ends))
    return np.array(rows)


def mean(matrix, steps, power):
    """E u^power after the steps, from START."""
    return float((basis(START) @ np.linalg.matrix_power(matrix, steps) @ POINTS**power)[0])


def euler_maruyama(eta, h, corrected=False):
    kernel = specialise("sde", KIND)
    rows, planes, sizes = np.empty((4, 2)), np.empty((4, 1)), np.empty((4, 1))

    def outcomes(point):
        for (a, p), (b, q) in product(zip(HERMITE, SHARES, strict=True), repeat=2):
            u = np.array([point])
            kernel.predict(u, np.inf, planes[0])
            kernel.step(u, X, Y, h, eta, corrected, BATCH, SIGMA, np.array([a, b]), rows, planes, sizes)
            yield p * q, u[0]

    return operator(outcomes)


def second_order(eta, h, corrected=False):
    kernel = specialise("sde_second", KIND)

    def outcomes(point):
        for a, b, c, d in product((-1.0, 0.0, 1.0), (-1.0, 0.0, 1.0), (-1.0, 1.0), (-1.0, 1.0)):
            u = np.array([point])
            one, two = np.sqrt(3 * h) * np.array([a, b]), np.sqrt(h) * np.array([c, d])
            kernel.step(u, X, Y, h, eta, corrected, BATCH, SIGMA, one, two)
            yield np.prod([2 / 3 if x == 0 else 1 / 6 for x in (a, b)]) / 4, u[0]

    return operator(outcomes)


def definition(eta, h):
    """Euler and Maruyama's step of the equation, its whole variance typed out, with one normal."""

    def outcomes(u):
        e, g = X[:, 0] * u**3 - Y, 3 * X[:, 0] * u**2
        force = np.mean(e * g)
        variance = (np.mean((e**2 + SIGMA**2) * g**2) - force**2) * eta / BATCH
        return [(p, u - h * force + np.sqrt(h * variance) * x) for x, p in zip(HERMITE, SHARES, strict=True)]

    return operator(outcomes)


def sgd(eta):
    """A row, each as likely, and its fresh label noise."""

    def outcomes(u):
        for x, y in zip(X[:, 0], Y, strict=True):
            for noise, p in zip(HERMITE, SHARES, strict=True):
                yield p / 2, u - eta * (x * u**3 - y - SIGMA * noise) * 3 * x * u**2

    return operator(outcomes)


def exact(eta, power):
    """The equation's own mean: three step sizes of its definition, extrapolated to none."""
    coarse, middle, fine = (mean(definition(eta, TIME / n), n, power) for n in (256, 512, 1024))
    return (8 * fine - 6 * middle + coarse) / 3


def orders(errors):
    return np.log2(np.abs(np.array(errors[:-1]) / np.array(errors[1:])))


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(("scheme", "order"), [(euler_maruyama, 1), (second_order, 2)])
def test_a_scheme_has_its_weak_order_in_its_time_step(scheme, order, power):
    eta, truth = 0.04, exact(0.04, power)
    errors = [mean(scheme(eta, TIME / n), n, power) - truth for n in (16, 32, 64)]
    assert np.abs(orders(errors) - order).max() < 0.15
    assert abs(errors[-1]) > 1e-8, "the reference is finer than what it judges"


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(("corrected", "order"), [(False, 1), (True, 2)])
def test_the_equation_has_its_weak_order_in_eta_against_sgd(corrected, order, power):
    """The scheme of second order in fine steps stands for the equation."""
    errors = []
    for n in (16, 32, 64):
        eta = TIME / n
        fine = mean(second_order(eta, eta / 8, corrected), 8 * n, power)
        errors.append(fine - mean(sgd(eta), n, power))
    assert np.abs(orders(errors) - order).max() < 0.15
