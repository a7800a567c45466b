"""Label-noise SGD by its definition, many replicas at a time. Imports no law.

A model knows a state's layout: it makes states, advances them and observes them. `RadialSGD` works in the n + 2
numbers of C12, `FullRadialSGD` and `SeparableSGD` in all coordinates. Draws are addressed by (seed, replica, step,
sample), so that results do not depend on threads, on how steps are cut into calls, or on which replicas run together.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from numerics import streams
from numerics.errors import InputError
from numerics.inputs import drawable, in_order, shaped, starts, whole
from numerics.problem import Problem, Reduced
from numerics.schedule import Schedule
from numerics.specialise import specialise
from theory.parametrization import Coordinatewise, DiagonalNetwork, Radial

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: of the arithmetic of `RadialSGD`
PRECISIONS = ("float64", "float32")

#: relative difference of |u|^2 in full and reduced coordinates from which on u counts as outside their span
_WITHIN = 1e-9
#: |F(u)| beyond this multiple of its start counts as diverged
DIVERGED = 1e3
#: steps a call takes at most: bounds the table of learning rates, and the wait for a Ctrl-C
_LONGEST_CALL = 1 << 16
_SHORTEST_CALL = 1 << 8
_SECONDS_PER_CALL = 0.2


@dataclass(frozen=True)
class Noise:
    """How a step draws: batch size (rows with replacement), label-noise standard deviation sigma, seed.

    Raises InputError for what no step can draw: compiled code would not notice.
    """

    batch: int
    sigma: float
    seed: int

    def __post_init__(self) -> None:
        drawable(self.batch, self.sigma)
        whole("seed", self.seed, least=0)


class Model(Protocol):
    """A state layout of SGD for one problem and parametrization."""

    def advance(self, states: FloatArray, replicas: IntArray, etas: FloatArray, noise: Noise, first_step: int) -> None:
        """Advance states ``(R, ...)`` in place by len(etas) steps; diverged replicas become NaN."""

    def observe(self, states: FloatArray) -> dict[str, FloatArray]:
        """Named observables of states, each ``(R,)``."""


@dataclass(frozen=True, eq=False)
class RadialSGD:
    """F(u) = g(|u|) u in reduced coordinates, exact (C12): states (X u, |u|^2, zhat . u), ``(R, n + 2)``.

    With precision "float32", X u and the draws are rounded to it; |u|^2 and zhat . u stay float64.
    """

    reduced: Reduced
    parametrization: Radial
    scale: float
    precision: str = "float64"

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InputError("precision", self.precision, f"is not one of {', '.join(PRECISIONS)}", "give one of them")

    @cached_property
    def kernel(self) -> ModuleType:
        """The compiled kernel."""
        return specialise("reduced", self.parametrization)

    @cached_property
    def gram(self) -> FloatArray:
        """X X^T ``(n, n)``."""
        return self.reduced.factor @ self.reduced.factor.T

    def start(self, u: FloatArray, replicas: int) -> FloatArray:
        """States ``(R, n + 2)`` of u ``(d,)``. Raises InputError where it lies outside span(rows of X, zhat)."""
        u = starts(u, self.reduced.direction.size, 1)[0]
        c = self.reduced.coordinates(u)
        if not np.isclose(c @ c, u @ u, rtol=_WITHIN, atol=0.0):
            rule, remedy = "is not in the span of the rows of X and the direction", "reduce along its own null part"
            raise InputError("u", f"a vector of norm {np.linalg.norm(u):g}", rule, remedy)
        state = np.concatenate([self.reduced.factor @ c[:-1], [c @ c, c[-1]]])
        return starts(state, self.reduced.n + 2, replicas)

    def advance(self, states: FloatArray, replicas: IntArray, etas: FloatArray, noise: Noise, first_step: int) -> None:
        """See `Model`."""
        shaped(states, self.reduced.n + 2)
        limit = self._square_limit()
        gram = self.gram.astype(self.precision)
        arguments = (gram, np.asarray(self.reduced.y), etas, noise.batch, noise.sigma, limit)
        self.kernel.advance(states, replicas, *arguments, _key(noise), streams.PURPOSES["sgd"], first_step)

    def _square_limit(self) -> float:
        return (DIVERGED * self.scale) ** 2

    def observe(self, states: FloatArray) -> dict[str, FloatArray]:
        """loss, test_loss, norm |w|, rho = |P_N w|, and the radial coordinates nu = zhat . u, r = |u|."""
        n = self.reduced.n
        r = np.sqrt(states[:, n])
        level = np.array([self.kernel.gain.py_func(q) for q in states[:, n]])
        rows = np.linalg.solve(self.reduced.factor, (states[:, :n] * level[:, None]).T).T
        c = np.concatenate([rows, (level * states[:, n + 1])[:, None]], axis=1)
        residual = level[:, None] * states[:, :n] - self.reduced.y
        return {
            "loss": 0.5 * np.mean(residual**2, axis=1),
            "test_loss": self.reduced.test_loss(c),
            "norm": level * r,
            "rho": np.abs(c[:, -1]),
            "nu": states[:, n + 1].copy(),
            "r": r,
        }


@dataclass(frozen=True, eq=False)
class FullRadialSGD:
    """F(u) = g(|u|) u in all coordinates: states u ``(R, d)``. Ground truth for `RadialSGD`."""

    problem: Problem
    parametrization: Radial
    scale: float

    @cached_property
    def kernel(self) -> ModuleType:
        """The compiled kernel."""
        return specialise("radial", self.parametrization)

    def start(self, u: FloatArray, replicas: int) -> FloatArray:
        """States ``(R, d)`` of u ``(d,)``."""
        return starts(u, self.problem.d, replicas)

    def advance(self, states: FloatArray, replicas: IntArray, etas: FloatArray, noise: Noise, first_step: int) -> None:
        """See `Model`."""
        shaped(states, self.problem.d)
        limit = (DIVERGED * self.scale) ** 2
        arguments = (np.asarray(self.problem.X), np.asarray(self.problem.y), etas, noise.batch, noise.sigma, limit)
        self.kernel.advance(states, replicas, *arguments, _key(noise), streams.PURPOSES["sgd"], first_step)

    def observe(self, states: FloatArray) -> dict[str, FloatArray]:
        """loss, test_loss, norm |w|, rho = |P_N w|."""
        level = np.array([self.kernel.gain.py_func(float(u @ u)) for u in states])
        return _observe_predictor(self.problem, level[:, None] * states)


@dataclass(frozen=True, eq=False)
class SeparableSGD:
    """w_j = F(theta_j) with one factor or two: states u ``(R, factors, d)``."""

    problem: Problem
    parametrization: Coordinatewise | DiagonalNetwork
    scale: float

    @cached_property
    def kernel(self) -> ModuleType:
        """The compiled kernel."""
        return specialise("separable", self.parametrization)

    @property
    def factors(self) -> int:
        """Factors per coordinate: 1 or 2."""
        return len(self.parametrization.factors)

    def start(self, u: FloatArray, replicas: int) -> FloatArray:
        """States ``(R, factors, d)`` of u ``(p,)``, factor after factor."""
        return starts(u, self.factors * self.problem.d, replicas).reshape(replicas, self.factors, self.problem.d)

    def advance(self, states: FloatArray, replicas: IntArray, etas: FloatArray, noise: Noise, first_step: int) -> None:
        """See `Model`."""
        shaped(states, self.factors, self.problem.d)
        limit = DIVERGED * self.scale
        arguments = (np.asarray(self.problem.X), np.asarray(self.problem.y), etas, noise.batch, noise.sigma, limit)
        self.kernel.advance(states, replicas, *arguments, _key(noise), streams.PURPOSES["sgd"], first_step)

    def predictor(self, states: FloatArray) -> FloatArray:
        """w ``(R, d)``."""
        w = np.empty((len(states), self.problem.d))
        for state, row in zip(states, w, strict=True):
            self.kernel.predict(state[0], state[-1], row)
        return w

    def derivatives(self, state: FloatArray) -> FloatArray:
        """F, F_a, F_b, F_aa, F_ab, F_bb ``(6, d)`` of a state ``(factors, d)``."""
        out = np.empty((6, self.problem.d))
        self.kernel.derivatives(np.ascontiguousarray(state), out)
        return out

    def observe(self, states: FloatArray) -> dict[str, FloatArray]:
        """loss, test_loss, norm |w|, rho = |P_N w|."""
        return _observe_predictor(self.problem, self.predictor(states))


def _observe_predictor(problem: Problem, w: FloatArray) -> dict[str, FloatArray]:
    return {
        "loss": problem.train_loss(w),
        "test_loss": problem.test_loss(w),
        "norm": np.linalg.norm(w, axis=1),
        "rho": np.linalg.norm(problem.null_part(w), axis=1),
    }


def _key(noise: Noise) -> npt.NDArray[np.uint64]:
    return np.array(streams.key(noise.seed), np.uint64)


def records(
    model: Model,
    states: FloatArray,
    schedule: Schedule,
    steps: IntArray,
    *,
    noise: Noise,
    threads: int,
    tick: Callable[[int], Any] = lambda _: None,
    first: int = 0,
) -> Iterator[dict[str, FloatArray]]:
    """Observables at increasing step numbers; steps[0] is the number of the step that the states are about to take.

    Advances states ``(R, ...)`` in place, in memory that does not grow with the steps. tick is called with the number
    of steps done since its last call; ``first`` is the number of the first replica, where the states are part of an
    ensemble. Stops early when every replica has diverged. Raises InputError for steps out of order, no threads.
    """
    steps = in_order(steps)
    whole("threads", threads)
    replicas = np.arange(first, first + len(states))
    with ThreadPoolExecutor(threads) as pool:
        length, at = _SHORTEST_CALL, int(steps[0])
        for wanted in steps:
            while at < wanted:
                count = min(length, int(wanted) - at)
                begin = time.perf_counter()
                advance(pool, threads, model, states, replicas, schedule(np.arange(at, at + count)), noise, at)
                at += count
                tick(count)
                if time.perf_counter() - begin < _SECONDS_PER_CALL / 2 and count == length:
                    length = min(2 * length, _LONGEST_CALL)
            observed = model.observe(states)
            yield observed
            if np.all(np.isnan(observed["loss"])):
                return


def advance(
    pool: ThreadPoolExecutor,
    threads: int,
    model: Model,
    states: FloatArray,
    replicas: IntArray,
    etas: FloatArray,
    noise: Noise,
    first_step: int,
) -> None:
    """One call of the kernel per thread, each on its own replicas."""
    edges = np.linspace(0, len(states), threads + 1).astype(int)
    jobs = [
        pool.submit(model.advance, states[a:b], replicas[a:b], etas, noise, first_step)
        for a, b in pairwise(edges)
        if b > a
    ]
    for job in jobs:
        job.result()


def simulate(
    model: Model,
    states: FloatArray,
    schedule: Schedule,
    steps: IntArray,
    *,
    noise: Noise,
    threads: int,
    tick: Callable[[int], Any] = lambda _: None,
    first: int = 0,
) -> dict[str, FloatArray]:
    """Every observable at every step, ``(steps, R)``; NaN after a replica has diverged. Leaves states at steps[-1]."""
    rows = records(model, states, schedule, steps, noise=noise, threads=threads, tick=tick, first=first)
    return tabulated(rows, len(steps), len(states))


def tabulated(rows: Iterator[dict[str, FloatArray]], steps: int, replicas: int) -> dict[str, FloatArray]:
    """Records ``(R,)`` as tables ``(steps, R)``, NaN where they stop early."""
    table: dict[str, FloatArray] = {}
    for i, row in enumerate(rows):
        for name, values in row.items():
            table.setdefault(name, np.full((steps, replicas), np.nan))[i] = values
    return table
