"""Epoch shuffling: every row once an epoch, in a fresh random order. Its own covariance and stability (C2, C3, C9).

Given the order, batch T of an epoch maps the residual q to (I - (eta/B) K P_T) q + (eta sigma/B) K P_T xi, P_T the
projector on its rows. The rows already drawn and q are dependent within an epoch, so no equation for one step closes;
that for an epoch does: with M, N the product of its m = n/B maps and what its label noise leaves,

    C = E[M C M^T + N],  the mean over the orders of the rows, each as likely as another,

which is linear in C at the epochs' beginnings. The orders are enumerated where there are few, and otherwise sampled,
in independent groups whose scatter is the standard error. Within the epoch C moves on with the order's own maps: the
loss sees the mean over its batches; the drift sees, in column i, E[q q_i] when row i is drawn, which is not symmetric.
Derived in `theory.sampling`, verified against a recursion over the sets of rows already drawn.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations
from math import factorial

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from numerics.cone import spectral_radius
from numerics.errors import InputError
from numerics.moments import Stationary
from numerics.noise_floor import stability_limit
from numerics.start import generator

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: orders of the rows up to this many are enumerated
MOST_ORDERS = 5040
#: orders sampled beyond that: independent groups, and orders in each
GROUPS, GROUP_SIZE = 8, 250
#: rows above which the n^2 unknowns of the epoch's equation cost too much
MOST_ROWS = 32


@cache
def orders(n: int, batch: int) -> IntArray:
    """Batches of rows ``(groups, orders, n/B, B)``: one group of all of them, or sampled groups.

    Raises InputError where B does not divide n, or n is above `MOST_ROWS`.
    """
    require_whole(n, batch)
    if n > MOST_ROWS:
        raise InputError("n", n, f"is above {MOST_ROWS}, where the epoch's equation is too large", "give fewer rows")
    if factorial(n) // factorial(batch) ** (n // batch) <= MOST_ORDERS:
        return np.array(list(_partitions(tuple(range(n)), batch)), np.int64)[None]
    draw = generator(0, f"orders of {n} rows")
    keys = draw.random((GROUPS, GROUP_SIZE, n))
    return np.argsort(keys, axis=-1).reshape(GROUPS, GROUP_SIZE, n // batch, batch)


def require_whole(n: int, batch: int) -> None:
    """Raise InputError where an epoch is no whole number of batches."""
    if n % batch:
        raise InputError("batch", batch, f"does not divide the {n} rows", "choose a divisor, or another sampling")


def _partitions(rows: tuple[int, ...], batch: int) -> list[list[tuple[int, ...]]]:
    """Every sequence of disjoint batches that uses all rows."""
    if not rows:
        return [[]]
    return [
        [first, *rest]
        for first in combinations(rows, batch)
        for rest in _partitions(tuple(row for row in rows if row not in first), batch)
    ]


@dataclass(frozen=True, eq=False)
class EpochFluctuations:
    """The second moment of the residual over one epoch of the given batches of rows ``(orders, m, B)``."""

    K: FloatArray
    eta: float
    batches: IntArray

    @cached_property
    def _steps(self) -> tuple[FloatArray, FloatArray]:
        """M and N at unit sigma before each batch and at the end, each ``(m + 1, orders, n, n)``."""
        count, length, batch = self.batches.shape
        n = len(self.K)
        rate = self.eta / batch
        maps, noise = np.empty((length + 1, count, n, n)), np.zeros((length + 1, count, n, n))
        maps[0] = np.eye(n)
        for t in range(length):
            rows = self.batches[:, t]
            columns = rate * self.K[:, rows].transpose(1, 0, 2)
            maps[t + 1] = maps[t] - columns @ np.take_along_axis(maps[t], rows[:, :, None], axis=1)
            half = noise[t] - columns @ np.take_along_axis(noise[t], rows[:, :, None], axis=1)
            across = np.take_along_axis(half, rows[:, None, :], axis=2) @ columns.transpose(0, 2, 1)
            noise[t + 1] = half - across + columns @ columns.transpose(0, 2, 1)
        return maps, noise

    @cached_property
    def transfer(self) -> FloatArray:
        """Matrix ``(n^2, n^2)`` of E[M C M^T]."""
        n, count = len(self.K), len(self.batches)
        flat = self._steps[0][-1].reshape(count, n * n)
        products = (flat.T @ flat / count).reshape(n, n, n, n)  # [a, b, c, d] = E M_ab M_cd
        return np.asarray(products.transpose(0, 2, 1, 3).reshape(n * n, n * n))

    @property
    def spectral_radius(self) -> float:
        """Below 1 where the second moment stays bounded."""
        return spectral_radius(lambda C: (self.transfer @ C.ravel()).reshape(C.shape), len(self.K))

    def covariances(self, sigma: float) -> FloatArray:
        """C ``(m, orders, n, n)`` before each batch, given the order of its epoch.

        Raises InputError above the stability limit.
        """
        n = len(self.K)
        if self.spectral_radius >= 1:
            rule = "exceeds the mean-square stability limit under epoch shuffling"
            raise InputError("eta", self.eta, rule, "lower eta or raise the batch size")
        maps, noise = self._steps
        source = sigma**2 * noise[-1].mean(axis=0)
        C = np.linalg.solve(np.eye(n * n) - self.transfer, source.ravel()).reshape(n, n)
        return np.asarray(maps[:-1] @ (C + C.T) / 2 @ maps[:-1].transpose(0, 1, 3, 2) + sigma**2 * noise[:-1])

    def stationary(self, sigma: float) -> Stationary:
        """The mean over the batches of an epoch, and what the drawn rows see."""
        C, n = self.covariances(sigma), len(self.K)
        seen = np.zeros((n, n))
        for t in range(C.shape[0]):
            for b in range(self.batches.shape[2]):
                rows = self.batches[:, t, b]
                np.add.at(seen.T, rows, np.take_along_axis(C[t], rows[:, None, None], axis=2)[:, :, 0])
        return Stationary(np.asarray(C.mean(axis=(0, 1))), seen / len(self.batches))


@dataclass(frozen=True)
class EpochMoments:
    """SGD with epoch shuffling, as `numerics.moments.Moments`; ``group`` takes one sampled group of orders only."""

    batch: int
    sigma: float
    group: int | None = None

    def stationary(self, K: FloatArray, eta: float) -> Stationary:
        """See `numerics.moments.Moments`; the mean over the groups."""
        found = [EpochFluctuations(K, eta, group).stationary(self.sigma) for group in self._orders(len(K))]
        covariances, seen = ([getattr(each, name) for each in found] for name in ("covariance", "seen"))
        return Stationary(np.mean(covariances, axis=0), np.mean(seen, axis=0))

    def limit(self, K: FloatArray) -> float:
        """See `numerics.moments.Moments`; of the first group."""
        batches = self._orders(len(K))[0]

        def excess(eta: float) -> float:
            return EpochFluctuations(K, eta, batches).spectral_radius - 1

        low = stability_limit(K, batch=self.batch)
        while excess(low) >= 0:
            low /= 1.5
        high = 1.5 * low
        while excess(high) < 0:
            low, high = high, 1.5 * high
        return float(brentq(excess, low, high, rtol=1e-8))

    def groups(self, n: int) -> "list[EpochMoments]":
        """One per independent group of sampled orders; none where all orders are enumerated."""
        count = len(orders(n, self.batch))
        return [EpochMoments(self.batch, self.sigma, i) for i in range(count)] if count > 1 else []

    def _orders(self, n: int) -> IntArray:
        every = orders(n, self.batch)
        return every if self.group is None else every[self.group : self.group + 1]
