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


def in_order(steps: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Step numbers ``(steps,)`` as integers. Raises InputError unless they are whole, from 0 on, and never fall."""
    given = np.asarray(steps)
    counts = given.ndim == 1 and given.size > 0 and given.dtype.kind in "iuf" and bool(np.isfinite(given).all())
    if not counts or np.any(given != np.floor(given)) or given[0] < 0 or np.any(given[1:] < given[:-1]):
        remedy = "give integers from 0 on, in order, such as np.arange(0, 1001, 100)"
        raise InputError("steps", np.array2string(given, threshold=6), "are not step numbers in order", remedy)
    return given.astype(np.int64)
