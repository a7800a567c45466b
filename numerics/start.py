"""Where training starts: on the manifold of minima at a given distance from w_mn, or at random off it.

Predictors w ``(d,)`` come first; the functions below ``on_manifold`` turn one into parameters u ``(p,)`` with F(u) = w.
"""

import zlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from numerics.errors import InputError
from numerics.problem import Problem

FloatArray = npt.NDArray[np.float64]
Elementwise = Callable[[FloatArray], FloatArray]


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A counter-based stream addressed by (seed, purpose): equal addresses give equal bits, others are independent.

    Raises InputError unless seed is a whole number in [0, 2^64).
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
        raise InputError("seed", seed, "is not a whole number in [0, 2^64)", "give a non-negative integer")
    key = np.array([seed, zlib.crc32(purpose.encode())], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def null_direction(problem: Problem, seed: int, u0: FloatArray | None = None) -> FloatArray:
    """A unit vector ``(d,)`` of ker X: uniformly random, or the null part of a given ``u0 (d,)``.

    Raises InputError: u0 of another length, or with no part in ker X.
    """
    if u0 is not None and np.shape(u0) != (problem.d,):
        raise InputError("shape of u0", np.shape(u0), f"is not ({problem.d},)", "give one entry per column of X")
    start = generator(seed, "null direction").standard_normal(problem.d) if u0 is None else np.asarray(u0, float)
    part = problem.null_part(start)
    norm = float(np.linalg.norm(part))
    if not norm > 1e-8 * np.linalg.norm(start):
        raise InputError("null part of u0", norm, "is zero to rounding", "give a u0 outside the span of the rows of X")
    return np.asarray(part / norm)


def on_manifold(problem: Problem, rho0: float, direction: FloatArray) -> FloatArray:
    """w_mn + rho0 * direction ``(d,)``: an interpolator at distance rho0 from the minimum-norm one.

    Raises InputError unless rho0 is finite and not negative.
    """
    if not (np.isfinite(rho0) and rho0 >= 0):
        raise InputError("rho0", rho0, "is not a distance", "give a finite number, 0 or more")
    return np.asarray(problem.w_mn + rho0 * direction)


def random_start(problem: Problem, scale: float, seed: int, *, size: int | None = None) -> FloatArray:
    """A Gaussian direction of norm ``scale``, ``(d,)`` or ``(size,)``: a start off the manifold.

    Raises InputError unless scale is finite and positive.
    """
    if not (np.isfinite(scale) and scale > 0):
        raise InputError("scale", scale, "is not a positive norm", "give a finite number above 0")
    start = generator(seed, "random start").standard_normal(problem.d if size is None else size)
    return np.asarray(start * (scale / np.linalg.norm(start)))


def radial_from_predictor(w: FloatArray, r: float | FloatArray) -> FloatArray:
    """u = w (r/|w|) of ``w (..., d)``, where ``r (...)`` solves r g(r) = |w| (D = depth: r = |w|^(1/D)).

    Raises InputError where w is zero: every direction of u would do.
    """
    norm = np.linalg.norm(w, axis=-1)
    if not np.all(norm > 0):
        raise InputError("|w|", 0.0, "leaves the direction of u open", "start at a positive rho0")
    return np.asarray(w * (np.asarray(r) / norm)[..., None])


def separable_from_predictor(
    value: Elementwise, slope: Elementwise, w: FloatArray, *, parameter: str = "w"
) -> FloatArray:
    """u of the shape of ``w`` with value(u) = w elementwise, to rounding.

    ``value`` is increasing and ``slope`` its derivative. Newton's method inside a bracket, bisected where Newton leaves
    it or stalls: roots where the slope vanishes (w = 0 for f(u) = sign(u)|u|^D) are found too. Raises InputError where
    w lies outside the range of ``value``.
    """
    w = np.asarray(w, dtype=np.float64)
    low, high = _bracket(value, w, parameter)
    u = (low + high) / 2
    width = high - low
    for _ in range(_MAX_ITERATIONS):
        with np.errstate(over="ignore"):  # inside the bracket a steep value may still overflow: bisection then
            excess = value(u) - w
            low = np.where(excess <= 0, u, low)
            high = np.where(excess >= 0, u, high)
            following = _newton_or_bisect(u, excess, slope(u), low, high, width)
        width = np.abs(following - u)
        if np.all(width <= 2 * _EPS * np.abs(following)):
            return following
        u = following
    return u


def diagonal_power_from_predictor(w: FloatArray, depth: float, *, offset: float = 0.0) -> FloatArray:
    """(a, b) ``(..., 2d)`` with a^D - b^D = w, a and b >= 0: the positive part of w in a, the negative part in b.

    With offset = 0 this is the pair of least norm; but then the smaller of a_j, b_j is 0, where for D > 1 its gradient
    vanishes and stays so. ``offset`` c > 0 adds c^D to both: a_j = (max(w_j, 0) + c^D)^(1/D), b_j likewise.
    Raises InputError: offset negative, depth below 1.
    """
    if not (np.isfinite(offset) and offset >= 0):
        raise InputError("offset", offset, "is not a non-negative number", "give 0 for the pair of least norm")
    if not (np.isfinite(depth) and depth >= 1):
        raise InputError("depth", depth, "is below 1", "give a depth of at least 1")
    both = np.concatenate([np.maximum(w, 0), np.maximum(-w, 0)], axis=-1)
    return np.asarray((both + offset**depth) ** (1 / depth))


def diagonal_product_from_predictor(w: FloatArray) -> FloatArray:
    """(a, b) ``(..., 2d)`` with a b = w of least norm: a = sign(w) sqrt|w|, b = sqrt|w|."""
    root = np.sqrt(np.abs(w))
    return np.concatenate([np.sign(w) * root, root], axis=-1)


_EPS = float(np.finfo(np.float64).eps)
_MAX_ITERATIONS = 2200  # bisection alone needs up to 1075 + 53 halvings to reach a denormal root
_LARGEST_BRACKET = 2.0**1000


def _bracket(value: Elementwise, w: FloatArray, parameter: str) -> tuple[FloatArray, FloatArray]:
    """low, high of the shape of w with value(low) <= w <= value(high), doubled from [-1, 1]."""
    low, high = np.full(w.shape, -1.0), np.full(w.shape, 1.0)
    with np.errstate(over="ignore", invalid="ignore"):
        while not np.all(below := value(low) <= w):
            low = np.where(below, low, 2 * low)
            _check_in_range(low, w, below, parameter)
        while not np.all(above := value(high) >= w):
            high = np.where(above, high, 2 * high)
            _check_in_range(high, w, above, parameter)
    return low, high


def _check_in_range(bound: FloatArray, w: FloatArray, found: npt.NDArray[np.bool_], parameter: str) -> None:
    outside = (np.abs(bound) > _LARGEST_BRACKET) & ~found
    if np.any(outside):
        rule = "lies outside the range of the parametrization"
        raise InputError(parameter, w[outside][0], rule, "choose a smaller rho0 or another parametrization")


def _newton_or_bisect(
    u: FloatArray, excess: FloatArray, slope: FloatArray, low: FloatArray, high: FloatArray, last: FloatArray
) -> FloatArray:
    """The Newton step where it stays inside [low, high] and at least halves the last one, else the midpoint."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        newton = u - excess / slope
    good = (newton >= low) & (newton <= high) & (np.abs(newton - u) <= 0.5 * last)
    return np.where(excess == 0, u, np.where(good, newton, (low + high) / 2))
