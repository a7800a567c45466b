"""Batches without replacement, and epochs in which every row comes once: their own second moments (C2, C3, C9).

Averages are exact enumerations, as in `theory.noise_floor`: of every set or order of the rows, and of xi_b = +-1.
"""

import functools
import itertools
from collections.abc import Iterator

import sympy
from sympy import Expr, MatrixBase

from theory import noise_floor, notation
from theory.derivation import Derivation, entries, matrix, symmetric, vector

eta, B, sigma, n_ = notation.eta, notation.B, notation.sigma, notation.n
C_, K_, diag_C = noise_floor.C_, noise_floor.K_, noise_floor.diag_C
SIZES = ((2, 1), (2, 2), (3, 2), (3, 3))  # (n, B) enumerated


def finite_population(n: Expr, B: Expr) -> Expr:
    """f = (n - B)/(n - 1)."""
    return (n - B) / (n - 1)


def signal_moment(C: MatrixBase, B: Expr, sigma: Expr) -> MatrixBase:
    """E[s s^T] of a batch of distinct rows: (1 - f/B) C / n^2 + (f diag(C) + sigma^2) / (B n)."""
    n = C.rows
    f = finite_population(sympy.Integer(n), sympy.sympify(B))
    return (1 - f / B) * C / n**2 + (f * noise_floor.diagonal(C) + sigma**2 * sympy.eye(n)) / (B * n)


def _signals(q: MatrixBase, rows: tuple[int, ...]) -> Iterator[MatrixBase]:
    """s of a batch for every sign of its label noise."""
    for signs in itertools.product((-1, 1), repeat=len(rows)):
        s = sympy.zeros(len(q), 1)
        for row, sign in zip(rows, signs, strict=True):
            s[row] += (q[row] - sigma * sign) / len(rows)
        yield s


def _mean(values: list[MatrixBase]) -> MatrixBase:
    return sum(values[1:], values[0]) / len(values)


def derive_without_replacement() -> Derivation:
    """Mean and second moment of a batch of distinct rows, averaged over every set of them (C2, C9)."""
    parts = []
    for n, batch in SIZES:
        q = vector("q", n)
        every = [s for rows in itertools.combinations(range(n), batch) for s in _signals(q, rows)]
        parts += [_mean(every) - q / n]
        parts += [_mean([s * s.T for s in every]) - signal_moment(q * q.T, sympy.Integer(batch), sigma)]
    f = sympy.Symbol("f")
    shown = (1 - f / B) * C_ / n_**2 + (f * diag_C + sigma**2) / (B * n_)
    text = (
        "Without replacement what the choice of rows adds has the finite-population factor f = (n - B)/(n - 1), what "
        "label noise adds has not; the second moment of a batch's signal is"
    )
    return Derivation("distinct-rows", "C2, C9", text, shown, entries(*parts))


def derive_full_batch() -> Derivation:
    """B = n without replacement: f = 0, gradient descent with fresh noise on every label."""
    n, K = 2, symmetric("K", 2)
    C = eta * sigma**2 * K * (2 * n * sympy.eye(n) - eta * K).inv()
    after = C - eta / n * (K * C + C * K) + eta**2 * K * signal_moment(C, sympy.Integer(n), sigma) * K
    text = "The full batch without replacement is gradient descent with fresh noise on every label:"
    inverse = sympy.Pow(2 * n_ - eta * K_, -1)
    shown = sympy.Eq(C_, eta * sigma**2 * K_ * inverse)
    return Derivation("full-batch-distinct", "C2", text, shown, entries((after - C).applyfunc(sympy.cancel)))


def derive_epoch() -> Derivation:
    """n = 2, B = 1: the second moment over an epoch, over both orders and every sign, against C -> E[M C M^T + N]."""
    n, q, K = 2, vector("q", 2), symmetric("K", 2)
    ends, stated = [], sympy.zeros(n, n)
    for order in itertools.permutations(range(n)):
        for signs in itertools.product((-1, 1), repeat=n):
            z = q
            for row, sign in zip(order, signs, strict=True):
                z = z - eta * K[:, row] * (z[row] - sigma * sign)
            ends.append(z * z.T)
        M, N = sympy.eye(n), sympy.zeros(n, n)
        for row in order:
            P = sympy.eye(n) - eta * K[:, row] * sympy.eye(n)[row, :]
            M, N = P * M, P * N * P.T + (eta * sigma) ** 2 * K[:, row] * K[:, row].T
        stated += (M * q * q.T * M.T + N) / 2
    M_, N_ = sympy.symbols("M N", commutative=False)
    E_, MT = sympy.Symbol("E", commutative=False), sympy.Symbol("M^T", commutative=False)
    text = (
        "With epoch shuffling q at the epochs' beginnings has one linear equation, the mean over orders, M the product "
        "of I - (eta/B) K P_T over the batches T and N what their label noise leaves:"
    )
    shown = sympy.Eq(C_, E_ * (M_ * C_ * MT + N_), evaluate=False)
    return Derivation("epoch", "C2, C9", text, shown, entries(_mean(ends) - stated))


def derive_orthogonal_epoch() -> Derivation:
    """Orthogonal rows: each is touched once an epoch, and no noise of the rows' choice is left; stable to 2B / k_i."""
    k = sympy.Symbol("k", positive=True)
    keep = 1 - eta * k / B
    C = eta * sigma**2 * k / (B * (2 - eta * k / B))
    fixed = keep**2 * C + (eta * sigma * k / B) ** 2 - C
    at_limit = keep.subs(eta, 2 * B / k) + 1
    text = "For orthogonal rows (K = k) an epoch leaves no noise from the choice of rows: stable below 2B/k, with"
    return Derivation("epoch-orthogonal", "C2, C9", text, sympy.Eq(C_, C), entries(fixed, at_limit))


def derive_seen() -> Derivation:
    """The tangent part of the second-order step of one row takes q q_i at the time when row i is drawn (C3)."""
    n, p, scale, xi = 2, 3, sympy.Symbol("epsilon"), sympy.Symbol("xi")
    A, Hs = matrix("A", n, p), [symmetric(f"H{i}", p) for i in range(n)]
    v, parts = vector("v", p), []
    for i in range(n):
        g, H = A[i, :].T, Hs[i]
        error = scale * (g.T * v)[0] + scale**2 * (v.T * H * v)[0] / 2 - scale * sigma * xi
        step = (error * (g + scale * H * v)).expand()
        second = step.applyfunc(lambda x: x.coeff(scale, 2))
        along = (v.T * H * v)[0] / 2 * g  # normal to M: P_T removes it
        parts.append(second - along - ((g.T * v)[0] - sigma * xi) * H * v)
    q_, i_ = sympy.Symbol("E[q q_i | i drawn]", commutative=False), sympy.Symbol("h", commutative=False)
    text = (
        "A drawn row i moves the slow point by the mean of (q_i - sigma xi) H_i v, v = A^T K^-1 q and xi fresh: the "
        "drift sees E[q q_i] over the steps that draw row i, which is C where rows are drawn afresh at every step:"
    )
    shown = sympy.Eq(i_, 2 / n_ * sympy.Symbol("sum_i H_i A^T K^-1", commutative=False) * q_, evaluate=False)
    return Derivation("seen-covariance", "C3", text, shown, entries(*parts))


@functools.cache
def derivations() -> tuple[Derivation, ...]:
    """Return every step about how rows are drawn."""
    return (
        derive_without_replacement(),
        derive_full_batch(),
        derive_epoch(),
        derive_orthogonal_epoch(),
        derive_seen(),
    )
