"""Roots, minima and splines of one variable without scipy, whose import takes longer than the law takes to answer."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Function = Callable[[float], float]
_GOLDEN = (3 - 5**0.5) / 2

#: finest relative tolerance that `root` can keep
FINEST = 4 * float(np.finfo(np.float64).eps)


def root(f: Function, low: float, high: float, *, xtol: float = 2e-12, rtol: float = 1e-12) -> float:
    """A zero of f in [low, high], by Brent's method (1973, chapter 4): step for step that of `scipy.optimize.brentq`.

    Raises ValueError where f has the same sign at both ends.
    """
    before, now = float(low), float(high)
    f_before, f_now = f(before), f(now)
    if f_before == 0:
        return before
    if f_now == 0:
        return now
    if (f_before < 0) == (f_now < 0):
        raise ValueError("f has the same sign at both ends of the interval")
    other, f_other, step, last = 0.0, 0.0, 0.0, 0.0
    for _ in range(100):
        if f_before != 0 and f_now != 0 and (f_before < 0) != (f_now < 0):
            other, f_other = before, f_before
            step = last = now - before
        if abs(f_other) < abs(f_now):
            before, now, other = now, other, now
            f_before, f_now, f_other = f_now, f_other, f_now
        delta, half = (xtol + rtol * abs(now)) / 2, (other - now) / 2
        if f_now == 0 or abs(half) < delta:
            return now
        step, last = _brent_step((before, now, other), (f_before, f_now, f_other), half, delta, (step, last))
        before, f_before = now, f_now
        now += step if abs(step) > delta else delta if half > 0 else -delta
        f_now = f(now)
    raise ArithmeticError("no zero found in 100 steps")


def _brent_step(
    x: tuple[float, float, float],
    f: tuple[float, float, float],
    half: float,
    delta: float,
    steps: tuple[float, float],
) -> tuple[float, float]:
    """The next step and the one it is measured against: interpolated where that is short, else half the bracket."""
    (before, now, other), (f_before, f_now, f_other), (step, last) = x, f, steps
    if not (abs(last) > delta and abs(f_now) < abs(f_before)):
        return half, half
    if before == other:
        tried = -f_now * (now - before) / (f_now - f_before)
    else:
        slope, slope_other = (f_before - f_now) / (before - now), (f_other - f_now) / (other - now)
        tried = -f_now * (f_other * slope_other - f_before * slope)
        tried /= slope_other * slope * (f_other - f_before)
    short = 2 * abs(tried) < min(abs(last), 3 * abs(half) - delta)
    return (tried, step) if short else (half, half)


def least(f: Function, low: float, high: float, *, evaluations: int) -> tuple[float, float]:
    """Where f is least in [low, high] and its value there, by golden section."""
    left, right = low + _GOLDEN * (high - low), high - _GOLDEN * (high - low)
    f_left, f_right = f(left), f(right)
    for _ in range(evaluations - 2):
        if f_left <= f_right:
            high, right, f_right = right, left, f_left
            left = low + _GOLDEN * (high - low)
            f_left = f(left)
        else:
            low, left, f_left = left, right, f_right
            right = high - _GOLDEN * (high - low)
            f_right = f(right)
    return (left, f_left) if f_left <= f_right else (right, f_right)


def spline(x: FloatArray, y: FloatArray, at: FloatArray) -> FloatArray:
    """The cubic spline through ``x (m,)`` increasing and ``y (m,)`` with not-a-knot ends, evaluated at ``at``."""
    if len(x) < 4:
        return np.asarray(np.polyval(np.polyfit(x, y, len(x) - 1), at))
    h, rise = np.diff(x), np.diff(y) / np.diff(x)
    system, right = np.zeros((len(x), len(x))), np.zeros(len(x))
    for k in range(1, len(x) - 1):
        system[k, k - 1 : k + 2] = h[k - 1], 2 * (h[k - 1] + h[k]), h[k]
        right[k] = 6 * (rise[k] - rise[k - 1])
    system[0, :3] = h[1], -(h[0] + h[1]), h[0]
    system[-1, -3:] = h[-1], -(h[-2] + h[-1]), h[-2]
    bend = np.linalg.solve(system, right)
    i = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(h) - 1)
    t = at - x[i]
    slope = rise[i] - h[i] * (2 * bend[i] + bend[i + 1]) / 6
    return np.asarray(y[i] + t * (slope + t * (bend[i] / 2 + t * (bend[i + 1] - bend[i]) / (6 * h[i]))))
