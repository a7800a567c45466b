"""A least-squares problem with more weights than rows, and its exact reduction to n + 1 dimensions.

The null space of X is never formed as a basis: with the orthonormal row basis Q ``(n, d)`` its projector is
``w - Q^T Q w``. Nothing here is larger than ``(n, d)`` or ``(m, d)``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from numerics.errors import InputError

FloatArray = npt.NDArray[np.float64]

# Below this fraction of the largest singular value of X, K = X X^T is singular in float64.
RANK_TOLERANCE = float(np.sqrt(np.finfo(np.float64).eps))


@dataclass(frozen=True, eq=False)
class Problem:
    """Training rows ``X (n, d)`` and labels ``y (n,)``, n < d, full row rank, with at most one kind of test loss.

    Test loss R(w), quadratic in w: with a teacher ``w_star (d,)`` it is (1/2)|w - w_star|^2 (isotropic inputs); with
    held-out rows ``X_test (m, d)``, ``y_test (m,)`` it is (1/2m)|X_test w - y_test|^2; with neither it is NaN.

    All arrays are kept as private, read-only, C-contiguous float64. ``u0`` is a start that came with the data, of any
    length; ``name`` and ``units`` (of y) are for labels and reports.

    Raises InputError: wrong shapes, values that are not finite numbers, n >= d, rank below n, labels all zero, or two
    kinds of test loss.
    """

    X: FloatArray
    y: FloatArray
    w_star: FloatArray | None = field(default=None, kw_only=True)
    X_test: FloatArray | None = field(default=None, kw_only=True)
    y_test: FloatArray | None = field(default=None, kw_only=True)
    u0: FloatArray | None = field(default=None, kw_only=True)
    name: str = field(default="unnamed", kw_only=True)
    units: str = field(default="", kw_only=True)
    row_basis: FloatArray = field(init=False, repr=False)
    factor: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, ndim in _RANKS.items():
            if getattr(self, name) is not None or name in ("X", "y"):
                object.__setattr__(self, name, finite_array(name, getattr(self, name), ndim))
        _check_shapes(self)
        # One BLAS thread: equal bits whatever the machine's setting, and faster where cores are shared.
        with threadpool_limits(limits=1, user_api="blas"):
            triangle = _triangle(self.X)
            _check_rank(self.X, _singular_values(triangle))
            row_basis, factor = _row_basis(self.X, triangle)
        object.__setattr__(self, "row_basis", row_basis)
        object.__setattr__(self, "factor", factor)

    @property
    def n(self) -> int:
        """Number of training rows."""
        return int(self.X.shape[0])

    @property
    def d(self) -> int:
        """Number of columns, the dimension of the predictor w."""
        return int(self.X.shape[1])

    @property
    def test_kind(self) -> str | None:
        """``"teacher"``, ``"held-out"`` or None: which test loss this problem has."""
        if self.w_star is not None:
            return "teacher"
        return None if self.X_test is None else "held-out"

    @cached_property
    def singular_values(self) -> FloatArray:
        """Singular values of X, ``(n,)``, largest first."""
        return _singular_values(self.factor)

    @cached_property
    def gram(self) -> FloatArray:
        """X X^T ``(n, n)``, exactly symmetric."""
        return _read_only(self.factor @ self.factor.T)

    @cached_property
    def w_mn(self) -> FloatArray:
        """The minimum-norm interpolator X^+ y, ``(d,)``."""
        return _read_only(np.linalg.solve(self.factor, self.y) @ self.row_basis)

    @cached_property
    def norm_w_mn(self) -> float:
        """Norm of the minimum-norm interpolator."""
        return float(np.linalg.norm(np.linalg.solve(self.factor, self.y)))

    @property
    def norm_w_star(self) -> float | None:
        """Norm of the teacher, None without one."""
        return None if self.w_star is None else float(np.linalg.norm(self.w_star))

    @cached_property
    def stable_rank(self) -> float:
        """|X|_F^2 / |X|_2^2; at least D + 1 makes the minimum-norm point the flattest (C5)."""
        return float(np.sum(self.singular_values**2) / self.singular_values[0] ** 2)

    @cached_property
    def condition_number(self) -> float:
        """Largest over smallest eigenvalue of X X^T: the square of the condition number of X."""
        return float((self.singular_values[0] / self.singular_values[-1]) ** 2)

    def null_part(self, w: FloatArray) -> FloatArray:
        """The component of ``w (..., d)`` in ker X; projected twice, so that X of it is zero to rounding."""
        for _ in range(2):
            w = w - (w @ self.row_basis.T) @ self.row_basis
        return w

    def train_loss(self, w: FloatArray) -> FloatArray:
        """(1/2n)|X w - y|^2 of ``w (..., d)``, shape ``(...)``."""
        return _mean_half_square(w @ self.X.T - self.y)

    def test_loss(self, w: FloatArray) -> FloatArray:
        """R(w) of ``w (..., d)``, shape ``(...)``; NaN where the problem has no test loss."""
        if self.w_star is not None:
            return np.asarray(0.5 * np.sum((w - self.w_star) ** 2, axis=-1))
        if self.X_test is None or self.y_test is None:
            return np.full(np.shape(w)[:-1], np.nan)
        return _mean_half_square(w @ self.X_test.T - self.y_test)

    def reduced(self, direction: FloatArray) -> "Reduced":
        """The problem restricted to span(rows of X, direction), exactly (C12).

        ``direction (d,)`` is a unit vector of ker X. Raises InputError where it is not.
        """
        direction = finite_array("direction", direction, 1)
        _check_direction(self, direction)
        test_factor, test_target, test_constant = _reduced_test_loss(self, direction)
        return Reduced(
            factor=self.factor,
            y=self.y,
            T=test_factor,
            t=test_target,
            constant=test_constant,
            row_basis=self.row_basis,
            direction=direction,
        )


@dataclass(frozen=True, eq=False)
class Reduced:
    """A problem in the coordinates ``c = (Q w, direction . w)``, ``(n + 1,)``, of span(rows of X, direction).

    There X w = factor @ c[:n], and the test loss is R = (1/2)|T c - t|^2 + constant with ``T (k, n + 1)`` upper
    trapezoidal, k = min(m, n + 1) (the identity for a teacher), ``t (k,)``. Without a test loss T and t are None and
    the constant is NaN. Norms are kept: |c| = |w|.
    """

    factor: FloatArray
    y: FloatArray
    T: FloatArray | None
    t: FloatArray | None
    constant: float
    row_basis: FloatArray = field(repr=False)
    direction: FloatArray = field(repr=False)

    @property
    def n(self) -> int:
        """Number of training rows; the reduced dimension is n + 1."""
        return int(self.factor.shape[0])

    @cached_property
    def c_mn(self) -> FloatArray:
        """The minimum-norm interpolator in these coordinates, ``(n + 1,)``; its last entry is zero."""
        return _read_only(np.append(np.linalg.solve(self.factor, self.y), 0.0))

    def coordinates(self, w: FloatArray) -> FloatArray:
        """c ``(..., n + 1)`` of ``w (..., d)``; what lies outside the span is dropped."""
        return np.concatenate([w @ self.row_basis.T, (w @ self.direction)[..., None]], axis=-1)

    def expand(self, c: FloatArray) -> FloatArray:
        """w ``(..., d)`` of ``c (..., n + 1)``."""
        return np.asarray(c[..., :-1] @ self.row_basis + c[..., -1:] * self.direction)

    def train_loss(self, c: FloatArray) -> FloatArray:
        """(1/2n)|X w - y|^2 of ``c (..., n + 1)``, shape ``(...)``."""
        return _mean_half_square(c[..., :-1] @ self.factor.T - self.y)

    def test_loss(self, c: FloatArray) -> FloatArray:
        """R of ``c (..., n + 1)``, shape ``(...)``; NaN where the problem has no test loss."""
        if self.T is None or self.t is None:
            return np.full(np.shape(c)[:-1], np.nan)
        return np.asarray(0.5 * np.sum((c @ self.T.T - self.t) ** 2, axis=-1) + self.constant)


_RANKS = {"X": 2, "y": 1, "w_star": 1, "X_test": 2, "y_test": 1, "u0": 1}


def _read_only(array: FloatArray) -> FloatArray:
    array.setflags(write=False)
    return array


def _singular_values(triangle: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.svd(triangle, compute_uv=False), dtype=np.float64)


def _mean_half_square(residual: FloatArray) -> FloatArray:
    return np.asarray(0.5 * np.mean(residual**2, axis=-1))


def finite_array(name: str, values: object, ndim: int) -> FloatArray:
    """A private, read-only, C-contiguous float64 copy of ``values`` with ``ndim`` axes.

    Raises InputError: not real numbers, another number of axes, empty, or an entry that is not finite (says which).
    """
    array = _real_array(name, values)
    if array.ndim != ndim or array.size == 0:
        rule = f"is not that of a non-empty array with {ndim} {'axes' if ndim > 1 else 'axis'}"
        raise InputError(f"shape of {name}", array.shape, rule, "check how it was saved")
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(f"{name}{list(where)}", array[where], "is not a finite number", "remove or fill it")
    return _read_only(array)


def _real_array(name: str, values: object) -> FloatArray:
    """A float64 copy; text, objects, complex numbers and ragged lists are refused."""
    remedy = "give real numbers in rows of equal length"
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(name, "ragged list", "is not an array", remedy) from None
    if array.dtype.kind not in "biuf":
        raise InputError(f"type of {name}", array.dtype, "is not a real number type", remedy)
    return np.array(array, dtype=np.float64, order="C")


def _check_shapes(problem: Problem) -> None:
    n, d = problem.X.shape
    _check_shape("y", problem.y, (n,), "one label per row of X")
    _check_shape("w_star", problem.w_star, (d,), "one weight per column of X")
    if (problem.X_test is None) != (problem.y_test is None):
        missing = "X_test" if problem.X_test is None else "y_test"
        raise InputError(missing, None, "is missing beside its other half", "give X_test and y_test together")
    if problem.X_test is not None:
        _check_shape("X_test", problem.X_test, (problem.X_test.shape[0], d), "the columns of X")
        _check_shape("y_test", problem.y_test, (problem.X_test.shape[0],), "one label per row of X_test")
        if problem.w_star is not None:
            raise InputError("test loss", "both w_star and X_test", "is ambiguous", "give a teacher or held-out rows")
    if n >= d:
        rule = f"is not below the d = {d} columns: there is no manifold of minima"
        raise InputError("n", n, rule, "use fewer rows or more --features")
    if not problem.y.any():
        raise InputError("y", "all zeros", "makes the minimum-norm solution vanish", "give other labels")


def _check_shape(name: str, array: FloatArray | None, expected: tuple[int, ...], meaning: str) -> None:
    if array is not None and array.shape != expected:
        raise InputError(f"shape of {name}", array.shape, f"is not {expected}, {meaning}", "check how it was saved")


def _chunks(X: FloatArray) -> list[slice]:
    """Blocks of columns that fit a cache, each wider than X is high."""
    width = max(4 * X.shape[0], 4096)
    return [slice(start, start + width) for start in range(0, X.shape[1], width)]


def _triangle(X: FloatArray) -> FloatArray:
    """Lower-triangular F ``(n, n)``, diagonal >= 0, with F F^T = X X^T, without squaring the condition of X."""
    pieces = [np.asarray(np.linalg.qr(X[:, chunk].T, mode="r")) for chunk in _chunks(X)]
    triangle = np.asarray(np.linalg.qr(np.concatenate(pieces), mode="r"))
    return np.asarray(triangle.T * np.where(np.diag(triangle) < 0, -1.0, 1.0))


def _row_basis(X: FloatArray, triangle: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Q ``(n, d)`` with orthonormal rows and F ``(n, n)`` lower-triangular with X = F Q, given F up to rounding.

    F^-1 X is orthonormal only to rounding times the condition number of X; what is missing is a triangle close to 1.
    """
    basis = np.empty_like(X)
    for chunk in _chunks(X):
        basis[:, chunk] = np.linalg.solve(triangle, X[:, chunk])
    correction = np.linalg.cholesky(basis @ basis.T)
    for chunk in _chunks(X):
        basis[:, chunk] = np.linalg.solve(correction, basis[:, chunk])
    return _read_only(basis), _read_only(np.tril(triangle @ correction))


def _check_rank(X: FloatArray, singular_values: FloatArray) -> None:
    n = X.shape[0]
    rank = int(np.sum(singular_values > RANK_TOLERANCE * singular_values[0]))
    if rank == n:
        return
    rule = f"is below its {n} rows (singular values under {RANK_TOLERANCE:.1e} of the largest count as zero)"
    raise InputError("rank of X", rank, rule, _rank_remedy(X))


def _rank_remedy(X: FloatArray) -> str:
    """Name the culprit where it is plain: a zero row or a repeated one."""
    zero = np.flatnonzero(~X.any(axis=1))
    if zero.size:
        return f"drop row {zero[0]}, which is zero"
    first: dict[bytes, int] = {}
    for i, row in enumerate(X):
        j = first.setdefault(row.tobytes(), i)
        if j != i:
            return f"drop row {i}, which repeats row {j}"
    return "use fewer rows or more --features"


def _check_direction(problem: Problem, direction: FloatArray) -> None:
    _check_shape("direction", direction, (problem.d,), "one entry per column of X")
    norm = float(np.linalg.norm(direction))
    if abs(norm - 1) > 1e-10:
        raise InputError("|direction|", norm, "is not 1", "divide by its norm")
    overlap = float(np.linalg.norm(problem.row_basis @ direction))
    if overlap > 1e-10:
        raise InputError("row part of direction", overlap, "is not zero", "take null_part of it and normalise")


def _reduced_test_loss(problem: Problem, direction: FloatArray) -> tuple[FloatArray | None, FloatArray | None, float]:
    """T, t and constant of R(c) = (1/2)|T c - t|^2 + constant."""
    basis: Sequence[FloatArray] = (problem.row_basis, direction[None, :])
    if problem.w_star is not None:
        target = np.concatenate([part @ problem.w_star for part in basis])
        outside = problem.null_part(problem.w_star) - target[-1] * direction
        return _read_only(np.eye(problem.n + 1)), _read_only(target), float(0.5 * outside @ outside)
    if problem.X_test is None or problem.y_test is None:
        return None, None, float("nan")
    scale = 1 / np.sqrt(problem.X_test.shape[0])
    rows = scale * np.concatenate([problem.X_test @ part.T for part in basis], axis=1)
    columns, triangle = np.linalg.qr(rows)
    labels = scale * problem.y_test
    target = columns.T @ labels
    outside = labels - columns @ target
    return _read_only(triangle), _read_only(target), float(0.5 * outside @ outside)
