"""Noise of one step, stationary covariance of the residuals, and its stability, at any learning rate (C2, C9, C14).

One step draws B rows b with replacement and fresh xi_b: u <- u - eta sum_b g_b (e_b - sigma xi_b) / B. In the residuals
the step is q <- q - eta K s with s = sum_b unit_b (q_b - sigma xi_b) / B. Averages are exact enumerations: of every
tuple of rows, and of xi_b = +-1, which has the first two moments of a standard normal (nothing higher enters). They are
run for B = 1, 2, 3; a mean of B independent terms has second moment m m^T + (M - m m^T) / B, affine in 1/B.
"""

import functools
import itertools
from collections.abc import Callable

import sympy
from sympy import Expr, MatrixBase

from theory import notation
from theory.derivation import Derivation, entries, matrix, symmetric, vector

eta, B, sigma, n_ = notation.eta, notation.B, notation.sigma, notation.n
C_, K_, diag_C = sympy.symbols("C K diag(C)", commutative=False)
SIZES = ((2, 1), (2, 2), (2, 3), (3, 2))  # (n, B) enumerated


def diagonal(C: MatrixBase) -> MatrixBase:
    """diag(C), (n, n)."""
    return sympy.diag(*[C[i, i] for i in range(C.rows)])


def signal_moment(C: MatrixBase, B: Expr, sigma: Expr) -> MatrixBase:
    """E[s s^T] for E[q q^T] = C: (1 - 1/B) C / n^2 + (diag(C) + sigma^2) / (B n)."""
    n = C.rows
    return (1 - 1 / sympy.sympify(B)) * C / n**2 + (diagonal(C) + sigma**2 * sympy.eye(n)) / (B * n)


def next_covariance(C: MatrixBase, K: MatrixBase, eta: Expr, B: Expr, sigma: Expr) -> MatrixBase:
    """E[q q^T] after one step: the map whose fixed point is C2 and whose linear part is C9."""
    return C - eta / C.rows * (K * C + C * K) + eta**2 * K * signal_moment(C, B, sigma) * K


def stationarity(C: MatrixBase, K: MatrixBase, eta: Expr, B: Expr, sigma: Expr) -> MatrixBase:
    """Left minus right side of C2 as theory.md writes it."""
    n = C.rows
    gain = (1 - 1 / sympy.sympify(B)) / n**2 * K * C * K + K * diagonal(C) * K / (B * n)
    return eta / n * (K * C + C * K) - eta**2 * gain - eta**2 * sigma**2 / (B * n) * K**2


def batch_mean(value: Callable[[MatrixBase], MatrixBase], q: MatrixBase, batch: int) -> MatrixBase:
    """Average value(s) over every batch of `batch` rows and every sign of the label noise."""
    values = []
    n = len(q)
    for rows in itertools.product(range(n), repeat=batch):
        for signs in itertools.product((-1, 1), repeat=batch):
            s = sympy.zeros(n, 1)
            for row, sign in zip(rows, signs, strict=True):
                s[row] += (q[row] - sigma * sign) / batch
            values.append(value(s))
    return sum(values[1:], values[0]) / len(values)


def derive_signal() -> Derivation:
    """Mean and second moment of a batch's signal, averaged over every batch (C2)."""
    parts = []
    for n, batch in SIZES:
        q = vector("q", n)
        parts += [batch_mean(lambda s: s, q, batch) - q / n]
        parts += [batch_mean(lambda s: s * s.T, q, batch) - signal_moment(q * q.T, batch, sigma)]
    shown = (1 - 1 / B) * C_ / n_**2 + (diag_C + sigma**2) / (B * n_)
    text = "A batch sees q through s with mean q / n and second moment, for E[q q^T] = C:"
    return Derivation("batch-signal", "C2", text, shown, entries(*parts))


def derive_gradient_noise() -> Derivation:
    """Covariance of the stochastic gradient A^T s off the manifold, (p, p)."""
    n, batch, p = 2, 2, 3
    A, e = matrix("A", n, p), vector("e", n)
    derived = batch_mean(lambda s: A.T * s * s.T * A, e, batch) - A.T * e * e.T * A / n**2
    weights = sympy.diag(*[x**2 + sigma**2 for x in e])
    stated = (A.T * weights * A / n - A.T * e * e.T * A / n**2) / batch
    shown = sympy.Symbol("(sum_i (e_i^2 + sigma^2) g_i g_i^T / n - grad_L grad_L^T)") / B
    text = "The gradient's noise, minibatch and label noise together, has covariance"
    return Derivation("noise-covariance", "C2, C14", text, shown, entries(derived - stated))


def derive_linearisation() -> Derivation:
    """First order in (distance to the manifold, sigma) of e(u - eta g_i (e_i - sigma xi)), rows with any curvature."""
    n, p, scale = 2, 2, sympy.Symbol("epsilon")
    A, Hs = matrix("A", n, p), [symmetric(f"H{i}", p) for i in range(n)]
    move, xi = vector("v", p), sympy.Symbol("xi")

    def residuals(v: MatrixBase) -> MatrixBase:
        return sympy.Matrix([(A[i, :] * v)[0] + (v.T * Hs[i] * v)[0] / 2 for i in range(n)])

    v, parts = scale * move, []
    for i in range(n):
        g = A[i, :].T + Hs[i] * v
        after = residuals(v - eta * g * (residuals(v)[i] - scale * sigma * xi))
        s = sympy.zeros(n, 1)
        s[i] = (A * move)[i] - sigma * xi
        parts.append(after.diff(scale).subs(scale, 0) - (A * move - eta * A * A.T * s))
    text = "To first order in the distance to the manifold a step maps the residuals q to q - eta K s."
    s_ = sympy.Symbol("s", commutative=False)
    q_ = sympy.Symbol("q", commutative=False)
    return Derivation("linear-step", "C2", text, q_ - eta * K_ * s_, entries(*parts))


def _outer_step(q: MatrixBase, K: MatrixBase) -> Callable[[MatrixBase], MatrixBase]:
    return lambda s: (q - eta * K * s) * (q - eta * K * s).T


def derive_stationary_covariance() -> Derivation:
    """The linear equation that the stationary residual covariance solves (C2)."""
    parts, C, K = [], symmetric("C", 2), symmetric("K", 2)
    for n, batch in ((2, 1), (2, 2), (3, 1)):
        q, kernel = vector("q", n), symmetric("K", n)
        derived = batch_mean(_outer_step(q, kernel), q, batch)
        parts.append(derived - next_covariance(q * q.T, kernel, eta, batch, sigma))
    parts.append(next_covariance(C, K, eta, B, sigma) - C + stationarity(C, K, eta, B, sigma))
    gain = (1 - 1 / B) / n_**2 * K_ * C_ * K_ + K_ * diag_C * K_ / (B * n_)
    left = eta / n_ * (K_ * C_ + C_ * K_) - eta**2 * gain
    shown = sympy.Eq(left, eta**2 * sigma**2 / (B * n_) * K_**2, evaluate=False)
    text = "The covariance C of the residuals reproduces itself in one step, at any learning rate and batch, iff"
    return Derivation("stationary-covariance", "C2", text, shown, entries(*parts))


def derive_small_floor() -> Derivation:
    """C = eta sigma^2 K / (2B) + O(eta^2): the orders eta^0..eta^2 of C2 vanish, and that solution is unique."""
    n, K, second = 2, symmetric("K", 2), symmetric("Z", 2)
    C = eta * sigma**2 * K / (2 * B) + eta**2 * second
    left = stationarity(C, K, eta, B, sigma).expand()
    orders = [left.applyfunc(lambda x, k=k: x.coeff(eta, k)) for k in range(3)]
    unknown = [second[0, 0], second[0, 1], second[1, 1]]
    lyapunov = K * second + second * K
    system = sympy.Matrix([lyapunov[0, 0], lyapunov[0, 1], lyapunov[1, 1]]).jacobian(unknown)
    floor = C.trace().coeff(eta, 1) / (2 * n) - sigma**2 * K.trace() / n / (4 * B)
    shown = sympy.Eq(sympy.Symbol("E_L"), eta * sigma**2 * sympy.Symbol("tr_H") / (4 * B))
    text = "For small eta C = eta sigma^2 K / (2 B), the only solution, and E L = tr C / (2 n) is"
    unique = system.det() - 4 * K.trace() * K.det()
    return Derivation("noise-floor", "C2", text, shown, entries(*orders, floor, unique))


def derive_one_sample() -> Derivation:
    """The covariance and the stability limit for one row, in closed form (C2, C9)."""
    k, c = sympy.symbols("k c", positive=True)
    C = eta * sigma**2 * k / (B * (2 - eta * k))
    fixed = stationarity(sympy.Matrix([[C]]), sympy.Matrix([[k]]), eta, B, sigma)
    slope = next_covariance(sympy.Matrix([[c]]), sympy.Matrix([[k]]), eta, B, sigma)[0].diff(c)
    text = "One sample (n = 1, K = k): stable iff |1 - eta k| < 1, whatever B, with floor"
    return Derivation("one-sample", "C2, C9", text, sympy.Eq(C_, C), entries(fixed, slope - (1 - eta * k) ** 2))


def derive_stability() -> Derivation:
    """Orthogonal rows, n = 3: each variance has the factor 1 - 2 eta l + eta^2 l^2 (B + n - 1)/B, l = k_i / n.

    The covariances between rows die with the variances, by Cauchy and Schwarz.
    """
    n = 3
    C, k = symmetric("C", n), vector("k", n, positive=True)
    after = next_covariance(C, sympy.diag(*k), eta, B, sympy.S.Zero)
    parts, lam = [], sympy.Symbol("lambda", positive=True)
    factor = 1 - 2 * eta * lam + eta**2 * lam**2 * (B + n - 1) / B
    for i in range(n):
        parts.append(after[i, i] - C[i, i] * factor.subs(lam, k[i] / n))
        parts += [after[i, j] - C[i, j] * _mixed(k[i] / n, k[j] / n) for j in range(i)]
    limit = 2 * B / (lam * (B + n_ - 1))
    at_limit = factor.subs(eta, limit.subs(n_, n)) - 1
    text = "For orthogonal rows the fluctuation is mean-square stable iff eta is below"
    return Derivation("stability", "C9", text, limit, entries(*parts, at_limit))


def _mixed(first: Expr, second: Expr) -> Expr:
    """Factor of the covariance of two rows."""
    return 1 - eta * (first + second) + eta**2 * (1 - 1 / B) * first * second


def derive_batch_order() -> Derivation:
    """The map decreases with B in the cone of covariances: n diag(C) - C is positive semidefinite.

    d next / d(1/B) = (eta/n)^2 K (n diag(C) - C) K, and for C = z z^T, v^T (n diag(C) - C) v is a sum of squares.
    """
    n = 3
    C, K, z, v = symmetric("C", n), symmetric("K", n), vector("z", n), vector("v", n)
    noise_part = next_covariance(C, K, eta, 1 / B, sympy.S.Zero).diff(B)
    excess = noise_part - eta**2 / n**2 * K * (n * diagonal(C) - C) * K
    form = (v.T * (n * diagonal(z * z.T) - z * z.T) * v)[0]
    squares = sum((v[i] * z[i] - v[j] * z[j]) ** 2 for i in range(n) for j in range(i))
    text = "A larger batch can only lower the spectral radius: n diag(C) >= C, the difference for C = z z^T being"
    shown = sympy.Symbol("sum_{i<j} (v_i z_i - v_j z_j)^2")
    return Derivation("stability-and-batch", "C9", text, shown, entries(excess, form - squares))


def derive_full_batch() -> Derivation:
    """sigma^2 = s^2 B / n, B -> infinity: every label noised afresh in a full batch; C = eta s^2 K (2n - eta K)^-1."""
    n, K, s, x = 2, symmetric("K", 2), sympy.Symbol("s", positive=True), sympy.Symbol("x", positive=True)
    C = eta * s**2 * K * (2 * n * sympy.eye(n) - eta * K).inv()
    scaled = stationarity(C, K, eta, B, s * sympy.sqrt(B / n))
    limit = scaled.applyfunc(lambda entry: sympy.expand(entry.subs(B, 1 / x)).subs(x, 0))
    text = "Full batch with fresh noise s on every label (sigma^2 = s^2 B / n, B to infinity):"
    inverse = sympy.Pow(2 * n_ - eta * K_, -1)
    return Derivation("full-batch-covariance", "C2, C3", text, sympy.Eq(C_, eta * s**2 * K_ * inverse), entries(limit))


@functools.cache
def derivations() -> tuple[Derivation, ...]:
    """Return every step about the noise; none depends on the parametrization."""
    return (
        derive_signal(),
        derive_gradient_noise(),
        derive_linearisation(),
        derive_stationary_covariance(),
        derive_small_floor(),
        derive_one_sample(),
        derive_stability(),
        derive_batch_order(),
        derive_full_batch(),
    )
