"""Learning rates as one closed form of the step.

``eta(k)`` is the learning rate of step k, counted from 0: step k maps u_k to u_(k+1). A schedule may be called with an
integer or an array of steps (real ones too, for the law's ODE) and returns float64 of the same shape.
``breakpoints`` are the steps where it is not smooth: an integrator restarts there.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt

from numerics.errors import InputError

FloatArray = npt.NDArray[np.float64]
Steps = npt.ArrayLike
Shape = Literal["linear", "cosine", "1-sqrt"]


class Schedule(Protocol):
    """What every schedule offers; ``eta`` is its largest learning rate."""

    @property
    def eta(self) -> float:
        """The largest learning rate."""

    @property
    def breakpoints(self) -> tuple[int, ...]:
        """Steps where eta(k) is not smooth, increasing and above 0."""

    def __call__(self, steps: Steps) -> FloatArray:
        """eta of each step."""


@dataclass(frozen=True)
class Constant:
    """eta(k) = eta. Raises InputError unless eta > 0."""

    eta: float

    def __post_init__(self) -> None:
        _check_positive("eta", self.eta)

    @property
    def breakpoints(self) -> tuple[int, ...]:
        """None."""
        return ()

    def __call__(self, steps: Steps) -> FloatArray:
        """eta of each step."""
        return np.full(np.shape(steps), float(self.eta))


@dataclass(frozen=True)
class StepDecay:
    """eta(k) = eta / factor^(number of decay steps <= k): late decay, once or several times.

    Raises InputError: eta <= 0, factor < 1, decay steps negative, not increasing, or not below ``total`` (if given).
    """

    eta: float
    decay_at: int | tuple[int, ...]
    factor: float
    total: int | None = None

    def __post_init__(self) -> None:
        _check_positive("eta", self.eta)
        if not (np.isfinite(self.factor) and self.factor >= 1):
            raise InputError("decay factor", self.factor, "would not lower eta", "give a factor of at least 1")
        for step in self.decay_steps:
            check_count("decay_at", step)
            if self.total is not None and step >= self.total:
                rule = f"lies outside the budget of {self.total} steps"
                raise InputError("decay_at", step, rule, "decay earlier or raise the number of steps")
        if list(self.decay_steps) != sorted(set(self.decay_steps)):
            raise InputError("decay_at", self.decay_steps, "is not increasing", "list each decay step once, in order")

    @property
    def decay_steps(self) -> tuple[int, ...]:
        """The decay steps as a tuple, however they were given."""
        return self.decay_at if isinstance(self.decay_at, tuple) else (self.decay_at,)

    @property
    def breakpoints(self) -> tuple[int, ...]:
        """The decay steps."""
        return tuple(int(step) for step in self.decay_steps if step > 0)

    def __call__(self, steps: Steps) -> FloatArray:
        """eta of each step."""
        decays = np.searchsorted(np.array(self.decay_steps), np.asarray(steps), side="right")
        return np.asarray(self.eta / float(self.factor) ** decays)


@dataclass(frozen=True)
class _WholeDecay:
    """A decay from eta to ``final`` over the whole budget: final + (eta - final) shape(k/total)."""

    eta: float
    total: int
    final: float
    shape: ClassVar[Shape]

    def __post_init__(self) -> None:
        _check_decay(self.eta, self.final, self.total)

    @property
    def breakpoints(self) -> tuple[int, ...]:
        """The end of the decay."""
        return (self.total,)

    def __call__(self, steps: Steps) -> FloatArray:
        """eta of each step."""
        return _decayed(self.eta, self.final, np.asarray(steps) / self.total, self.shape)


@dataclass(frozen=True)
class Cosine(_WholeDecay):
    """eta(k) = final + (eta - final)(1 + cos(pi k/total))/2, and final from ``total`` on.

    Raises InputError unless eta > 0, 0 <= final <= eta and total >= 1.
    """

    shape = "cosine"


@dataclass(frozen=True)
class Linear(_WholeDecay):
    """eta(k) = final + (eta - final)(1 - k/total), and final from ``total`` on.

    Raises InputError unless eta > 0, 0 <= final <= eta and total >= 1.
    """

    shape = "linear"


@dataclass(frozen=True)
class WarmupStableDecay:
    """Linear warm-up eta (k+1)/warmup, a plateau at eta, and a decay to ``final`` over the last ``decay`` steps.

    With s = (k - (total - decay))/decay in [0, 1] the decay is final + (eta - final) shape(s), where shape is 1 - s
    ("linear"), (1 + cos(pi s))/2 ("cosine") or 1 - sqrt(s) ("1-sqrt"). ``warmup`` and ``decay`` are step counts; either
    may be 0. Warm-up conventions differ: ours gives step 0 the rate eta/warmup, as torch's LinearLR does with
    start_factor =
    1/warmup and total_iters = warmup - 1; with ``warmup_from_zero`` step k gets eta k/warmup, as optax's
    linear_schedule(0,
    eta, warmup) and transformers do, and step 0 does nothing. Raises InputError: negative values, final > eta, an
    unknown shape, warm-up and decay that overlap.
    """

    eta: float
    total: int
    warmup: int
    decay: int
    final: float
    shape: Shape = "linear"
    warmup_from_zero: bool = False

    def __post_init__(self) -> None:
        _check_decay(self.eta, self.final, self.total)
        check_count("warmup", self.warmup)
        check_count("decay", self.decay)
        if self.shape not in SHAPES:
            raise InputError("shape", self.shape, "is not a known decay", f"choose one of {', '.join(SHAPES)}")
        if self.warmup + self.decay > self.total:
            rule = f"overlaps the decay of {self.decay} steps in a budget of {self.total}"
            raise InputError("warmup", self.warmup, rule, "shorten one of them or raise the number of steps")

    @classmethod
    def from_fractions(
        cls, eta: float, total: int, warmup: float, decay: float, final: float, shape: Shape = "linear"
    ) -> "WarmupStableDecay":
        """The same with warm-up and decay as fractions of ``total``, each rounded to the nearest step.

        Raises InputError: a fraction outside [0, 1], or fractions that add up to more than 1.
        """
        for name, value in (("warmup", warmup), ("decay", decay)):
            if not 0 <= value <= 1:
                raise InputError(name, value, "is not a fraction of the budget", "give a number between 0 and 1")
        if warmup + decay > 1 + 1e-12:
            raise InputError("warmup", warmup, f"overlaps the decay fraction {decay:g}", "let them add up to at most 1")
        warm = round(warmup * total)
        return cls(eta, total, warm, min(round(decay * total), total - warm), final, shape)

    @property
    def breakpoints(self) -> tuple[int, ...]:
        """Last warm-up step, start of the decay, end of the budget; only those that are there."""
        ends = {self.warmup if self.warmup_from_zero else self.warmup - 1, self.total}
        if self.decay > 0:
            ends.add(self.total - self.decay)
        return tuple(sorted(step for step in ends if step > 0))

    def __call__(self, steps: Steps) -> FloatArray:
        """eta of each step."""
        k = np.asarray(steps, dtype=np.float64)
        offset = 0 if self.warmup_from_zero else 1
        warm = np.minimum(1.0, (k + offset) / self.warmup) if self.warmup else 1.0
        start = self.total - self.decay
        progress = (k - start) / self.decay if self.decay else np.where(k >= self.total, 1.0, 0.0)
        return np.asarray(warm * _decayed(self.eta, self.final, progress, self.shape))


SHAPES = ("linear", "cosine", "1-sqrt")


def _decayed(eta: float, final: float, progress: npt.ArrayLike, shape: Shape) -> FloatArray:
    """final + (eta - final) shape(progress), progress clipped to [0, 1]."""
    s = np.clip(np.asarray(progress, dtype=np.float64), 0.0, 1.0)
    left = {"linear": 1 - s, "cosine": (1 + np.cos(np.pi * s)) / 2, "1-sqrt": 1 - np.sqrt(s)}[shape]
    return np.asarray(final + (eta - final) * left)


def _check_positive(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise InputError(name, value, "is not a positive number", f"give {name} > 0")


def check_count(name: str, value: int) -> None:
    """Raise InputError unless ``value`` is a whole number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise InputError(name, value, "is not a number of steps", "give a whole number, 0 or more")


def _check_decay(eta: float, final: float, total: int) -> None:
    """eta > 0, 0 <= final <= eta, total >= 1."""
    _check_positive("eta", eta)
    if not 0 <= final <= eta:
        raise InputError("final eta", final, f"is not between 0 and eta = {eta:g}", "lower it, or raise eta")
    check_count("total steps", total)
    _check_positive("total steps", total)
