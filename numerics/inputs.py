"""What an argument of the library must be, refused in one line otherwise."""

from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

from numerics.errors import InputError


def whole(parameter: str, value: Any, least: int = 1) -> None:
    """Raises InputError unless value is an integer of at least ``least``."""
    if not isinstance(value, Integral) or value < least:
        raise InputError(parameter, value, f"is not an integer of at least {least}", "give one")


def not_negative(parameter: str, value: Any) -> None:
    """Raises InputError unless value is a finite number of at least 0."""
    if not isinstance(value, Real) or not 0 <= float(value) < float("inf"):
        raise InputError(parameter, value, "is not a finite number of at least 0", "give one")


def below_one(parameter: str, value: Any) -> None:
    """Raises InputError unless value is in [0, 1)."""
    if not 0 <= value < 1:
        raise InputError(parameter, value, "is not in [0, 1)", "give a number below 1")


def drawable(batch: Any, sigma: Any) -> None:
    """Raises InputError for a batch that is no integer of at least 1, or a sigma that is negative or not finite."""
    whole("batch", batch)
    not_negative("sigma", sigma)


def kernel(K: Any) -> None:
    """Raises InputError unless K is a square matrix of finite numbers."""
    if np.ndim(K) != 2 or K.shape[0] != K.shape[1]:
        raise InputError("shape of K", np.shape(K), "is not (n, n)", "give the tangent kernel's Gram matrix")
    if not np.isfinite(K).all():
        raise InputError("K", "a matrix with infinities or NaN", "is not finite", "look at X and u")


def starts(u: npt.ArrayLike, size: int, replicas: int) -> npt.NDArray[np.float64]:
    """``(R, size)``: u for each replica. Raises InputError unless u is ``(size,)`` and there is a replica."""
    whole("replicas", replicas)
    u = np.asarray(u, float)
    if u.shape != (size,):
        raise InputError("shape of u", u.shape, f"is not ({size},)", "give one number for each parameter")
    return np.tile(u, (replicas, 1))


def shaped(states: npt.NDArray[np.float64], *shape: int) -> None:
    """Raises InputError unless each state has this shape: compiled code would read beyond its end."""
    if states.shape[1:] != shape:
        rule = f"is not (R, {', '.join(map(str, shape))})"
        raise InputError("shape of states", states.shape, rule, "let the model's start make them")


def in_order(steps: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Step numbers ``(steps,)`` as integers. Raises InputError unless they are whole, from 0 on, and never fall."""
    given = np.asarray(steps)
    counts = given.ndim == 1 and given.size > 0 and given.dtype.kind in "iuf" and bool(np.isfinite(given).all())
    if not counts or np.any(given != np.floor(given)) or given[0] < 0 or np.any(given[1:] < given[:-1]):
        remedy = "give integers from 0 on, in order, such as np.arange(0, 1001, 100)"
        raise InputError("steps", np.array2string(given, threshold=6), "are not step numbers in order", remedy)
    return given.astype(np.int64)
