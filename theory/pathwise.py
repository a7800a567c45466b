"""The exact first check: f = u v, one sample, target 1, where one quantity is known at every step and any eta (C16)."""

import functools

import sympy

from theory import noise_floor, notation, slow_law
from theory.derivation import Derivation, entries

eta, sigma = notation.eta, notation.sigma
u, v, rk, xi = sympy.symbols("u v r_k xi", real=True)


def derive_identity() -> Derivation:
    """For f = u v, u^2 - v^2 changes by the factor 1 - eta^2 r^2 in every step (C16)."""
    after_u, after_v = u - eta * rk * v, v - eta * rk * u
    residual = (after_u**2 - after_v**2) - (u**2 - v**2) * (1 - eta**2 * rk**2)
    text = "Exactly, in every step and at any eta, with r_k the noisy residual, u^2 - v^2 is multiplied by"
    return Derivation("pathwise", "C16", text, 1 - eta**2 * rk**2, entries(residual))


def derive_second_moment() -> Derivation:
    """e = u v - 1 obeys e_next = e - eta h r_k + eta^2 r_k^2 u v; its linear part has the floor of C2, K = h, B = 1."""
    h, e = u**2 + v**2, u * v - 1
    exact = (u - eta * rk * v) * (v - eta * rk * u) - 1 - (e - eta * h * rk + eta**2 * rk**2 * u * v)
    k = sympy.Symbol("h", positive=True)
    floor = eta * sigma**2 * k / (2 - eta * k)
    stationary = noise_floor.stationarity(sympy.Matrix([[floor]]), sympy.Matrix([[k]]), eta, sympy.S.One, sigma)
    stated = sigma**2 / (1 - eta * k / 2)
    text = "In the stationary state, h = u^2 + v^2, the noisy residual has second moment"
    return Derivation("pathwise-floor", "C16", text, stated, entries(exact, stationary, floor + sigma**2 - stated))


def derive_agreement() -> Derivation:
    """C3 at n = p - 1 = 1 gives the same decay of u^2 - v^2 as the exact identity: three routes, one rate."""
    A, H = sympy.Matrix([[v, u]]), sympy.Matrix([[0, 1], [1, 0]])
    k = u**2 + v**2
    C = eta * sigma**2 * k / (2 - eta * k)
    h = slow_law.force(A, [H], slow_law.parameter_covariance(A, sympy.Matrix([[C]])))
    drift = -eta / 2 * (sympy.eye(2) - A.T * A / k) * h
    derived = 2 * u * drift[0] - 2 * v * drift[1]
    rate = -(eta**2) * sigma**2 / (1 - eta * k / 2)
    text = "The slow law C3 gives u^2 - v^2 the same relative change per step:"
    return Derivation("pathwise-slow-law", "C16, C3", text, rate, entries(derived - rate * (u**2 - v**2)))


@functools.cache
def derivations() -> tuple[Derivation, ...]:
    """Return the identity, its stationary second moment, and its agreement with the slow law."""
    return (derive_identity(), derive_second_moment(), derive_agreement())
