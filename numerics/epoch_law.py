"""Epoch shuffling: every row once an epoch, in a fresh random order. Its own covariance and stability (C2, C3, C9).

Given the order, batch T of an epoch maps the residual q to (I - (eta/B) K P_T) q + (eta sigma/B) K P_T xi, P_T the
projector on its rows. The rows already drawn and q are dependent within an epoch, so no equation for one step closes;
that for an epoch does: with M, N the product of its m = n/B maps and what its label noise leaves,

    C = E[M C M^T + N],  the mean over the orders of the rows, each as likely as another,

which is linear in C at the epochs' beginnings. Heavy ball has the same equation for the second moment of (q, A p):
given the order, a batch maps it by [[I - (eta/B) K P_T, -eta beta I], [(1/B) K P_T, beta I]]. The orders are enumerated
where there are few, and otherwise sampled, in independent groups whose scatter is the standard error. Within the epoch
C moves on with the order's own maps: the loss sees the mean over its batches; the drift sees, in column i, E[q q_i]
when row i is drawn, which is not symmetric. Derived in `theory.sampling` and, under momentum, `theory.momentum_epochs`;
verified against a recursion over the sets of rows already drawn, under momentum against every order written out.
"""

from dataclasses import dataclass, replace
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
#: rows above which the n^2 unknowns of the epoch's equation cost too much, and under momentum its (2n)^2
MOST_ROWS, MOST_ROWS_MOMENTUM = 32, 12


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
    momentum: float = 0.0

    @property
    def size(self) -> int:
        """Unknowns that a batch maps: n, or 2n under momentum."""
        return len(self.K) * (2 if self.momentum else 1)

    def _columns(self, rows: IntArray) -> FloatArray:
        """How the residuals of the drawn rows ``(orders, B)`` enter, ``(orders, size, B)``."""
        drawn = self.K[:, rows].transpose(1, 0, 2) / rows.shape[1]
        if not self.momentum:
            return np.asarray(self.eta * drawn)
        return np.concatenate([self.eta * drawn, -drawn], axis=1)

    @cached_property
    def _between(self) -> FloatArray:
        """What is carried from a step to the next beside that ``(size, size)``."""
        eye = np.eye(len(self.K))
        if not self.momentum:
            return eye
        return np.block([[eye, -self.eta * self.momentum * eye], [0 * eye, self.momentum * eye]])

    @cached_property
    def _steps(self) -> tuple[FloatArray, FloatArray]:
        """M and N at unit sigma before each batch and at the end, each ``(m + 1, orders, size, size)``."""
        (count, length, _), n = self.batches.shape, self.size
        maps, noise = np.empty((length + 1, count, n, n)), np.zeros((length + 1, count, n, n))
        maps[0] = np.eye(n)
        for t in range(length):
            rows, carry = self.batches[:, t], self._between
            columns = self._columns(rows)
            maps[t + 1] = carry @ maps[t] - columns @ np.take_along_axis(maps[t], rows[:, :, None], axis=1)
            half = carry @ noise[t] - columns @ np.take_along_axis(noise[t], rows[:, :, None], axis=1)
            across = np.take_along_axis(half, rows[:, None, :], axis=2) @ columns.transpose(0, 2, 1)
            noise[t + 1] = half @ carry.T - across + columns @ columns.transpose(0, 2, 1)
        return maps, noise

    @cached_property
    def transfer(self) -> FloatArray:
        """Matrix ``(size^2, size^2)`` of E[M C M^T]."""
        n, count = self.size, len(self.batches)
        flat = self._steps[0][-1].reshape(count, n * n)
        products = (flat.T @ flat / count).reshape(n, n, n, n)  # [a, b, c, d] = E M_ab M_cd
        return np.asarray(products.transpose(0, 2, 1, 3).reshape(n * n, n * n))

    @property
    def spectral_radius(self) -> float:
        """Below 1 where the second moment stays bounded."""
        return spectral_radius(lambda C: (self.transfer @ C.ravel()).reshape(C.shape), self.size)

    def covariances(self, sigma: float) -> FloatArray:
        """C ``(m, orders, n, n)`` before each batch, given the order of its epoch.

        Raises InputError above the stability limit.
        """
        n, rows = self.size, len(self.K)
        if self.spectral_radius >= 1:
            rule = "exceeds the mean-square stability limit under epoch shuffling"
            raise InputError("eta", self.eta, rule, "lower eta or raise the batch size")
        maps, noise = self._steps
        source = sigma**2 * noise[-1].mean(axis=0)
        C = np.linalg.solve(np.eye(n * n) - self.transfer, source.ravel()).reshape(n, n)
        found = maps[:-1] @ (C + C.T) / 2 @ maps[:-1].transpose(0, 1, 3, 2) + sigma**2 * noise[:-1]
        return np.asarray(found[:, :, :rows, :rows])

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
    """SGD, or heavy ball, with epoch shuffling, as `numerics.moments.Moments`; ``group`` takes one sampled group of
    orders only.
    """

    batch: int
    sigma: float
    group: int | None = None
    momentum: float = 0.0

    def stationary(self, K: FloatArray, eta: float) -> Stationary:
        """See `numerics.moments.Moments`; the mean over the groups."""
        found = [self._of(K, eta, group).stationary(self.sigma) for group in self._orders(len(K))]
        covariances, seen = ([getattr(each, name) for each in found] for name in ("covariance", "seen"))
        return Stationary(np.mean(covariances, axis=0), np.mean(seen, axis=0))

    def limit(self, K: FloatArray) -> float:
        """See `numerics.moments.Moments`; of the first group."""
        batches = self._orders(len(K))[0]

        def excess(eta: float) -> float:
            return self._of(K, eta, batches).spectral_radius - 1

        low = stability_limit(K, batch=self.batch) * (1 - self.momentum)
        while excess(low) >= 0:
            low /= 1.5
        high = 1.5 * low
        while excess(high) < 0:
            low, high = high, 1.5 * high
        return float(brentq(excess, low, high, rtol=1e-8))

    def groups(self, n: int) -> "list[EpochMoments]":
        """One per independent group of sampled orders; none where all orders are enumerated."""
        count = len(orders(n, self.batch))
        return [replace(self, group=i) for i in range(count)] if count > 1 else []

    def _of(self, K: FloatArray, eta: float, batches: IntArray) -> EpochFluctuations:
        return EpochFluctuations(K, eta, batches, self.momentum)

    def _orders(self, n: int) -> IntArray:
        every = orders(n, self.batch)
        return every if self.group is None else every[self.group : self.group + 1]
