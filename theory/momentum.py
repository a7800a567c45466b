"""Heavy-ball momentum at any learning rate: the mean map, its noise, the floor and the drift (C13).

p <- beta p + ghat, u <- u - eta p. In residual coordinates z = (q, A p), with s the batch signal of `noise_floor`:
A p <- beta A p + K s, q <- q - eta (new A p).
"""

import functools

import sympy
from sympy import Expr, MatrixBase

from theory import noise_floor, notation
from theory.derivation import Derivation, entries, symmetric, vector

eta, B, sigma, beta, n_ = notation.eta, notation.B, notation.sigma, notation.beta, notation.n
K_, I_, C_ = sympy.symbols("K I C", commutative=False)


def mean_map(K: MatrixBase, eta: Expr, beta: Expr) -> MatrixBase:
    """[[I - eta K/n, -eta beta I], [K/n, beta I]], (2n, 2n)."""
    n = K.rows
    identity = sympy.eye(n)
    return sympy.Matrix(sympy.BlockMatrix([[identity - eta * K / n, -eta * beta * identity], [K / n, beta * identity]]))


def noise(C: MatrixBase, K: MatrixBase, B: Expr, sigma: Expr) -> MatrixBase:
    """Covariance of K s given E[q q^T] = C: [K (diag C + sigma^2) K / n - K C K / n^2] / B, (n, n)."""
    n = K.rows
    return (K * (noise_floor.diagonal(C) + sigma**2 * sympy.eye(n)) * K / n - K * C * K / n**2) / B


def next_moment(Z: MatrixBase, K: MatrixBase, eta: Expr, B: Expr, sigma: Expr, beta: Expr) -> MatrixBase:
    """E[z z^T] after one step from E[z z^T] = Z, (2n, 2n)."""
    n, M = K.rows, mean_map(K, eta, beta)
    entry = sympy.Matrix.vstack(-eta * sympy.eye(n), sympy.eye(n))
    return M * Z * M.T + entry * noise(Z[:n, :n], K, B, sigma) * entry.T


def derive_map() -> Derivation:
    """The mean map of heavy ball in residual coordinates (C13)."""
    n, batch = 2, 2
    q, a, K = vector("q", n), vector("a", n), symmetric("K", n)

    def after(s: MatrixBase) -> MatrixBase:
        velocity = beta * a + K * s
        return sympy.Matrix.vstack(q - eta * velocity, velocity)

    z = sympy.Matrix.vstack(q, a)
    mean = noise_floor.batch_mean(after, q, batch) - mean_map(K, eta, beta) * z
    second = noise_floor.batch_mean(lambda s: after(s) * after(s).T, q, batch)
    residual = second - next_moment(z * z.T, K, eta, batch, sigma, beta)
    one, K0 = sympy.symbols("I K")
    shown = sympy.Matrix([[one - eta * K0 / n_, -eta * beta * one], [K0 / n_, beta * one]])
    text = "In (q, A p) the mean map is below; the noise K s enters as (-eta, 1)^T with its covariance given q."
    return Derivation("momentum-map", "C13", text, shown, entries(mean, residual))


def derive_one_sample() -> Derivation:
    """n = 1: the 3 unknowns of the stationary moment solved; at beta = 0 the floor is that of C2."""
    k, unknown = sympy.Symbol("k", positive=True), symmetric("z", 2)
    K = sympy.Matrix([[k]])
    equations = next_moment(unknown, K, eta, B, sigma, beta) - unknown
    names = [unknown[0, 0], unknown[0, 1], unknown[1, 1]]
    solved = sympy.solve([equations[0, 0], equations[0, 1], equations[1, 1]], names, dict=True)[0]
    floor = eta * k * sigma**2 * (1 + beta) / (B * (1 - beta) * (2 * (1 + beta) - eta * k))
    plain = floor.subs(beta, 0) - eta * sigma**2 * k / (B * (2 - eta * k))
    at_limit = (mean_map(K, 2 * (1 + beta) / k, beta) + sympy.eye(2)).det()
    text = "One sample (K = k): stable below eta k = 2 (1 + beta), where an eigenvalue of the map is -1, with floor"
    return Derivation(
        "momentum-one-sample", "C13", text, sympy.Eq(C_, floor), entries(solved[names[0]] - floor, plain, at_limit)
    )


def small_rate(K: MatrixBase, B: Expr) -> tuple[MatrixBase, MatrixBase, MatrixBase]:
    """Leading orders of E[q q^T] / eta, E[q (A p)^T] / eta and E[A p (A p)^T] at rest, each (n, n)."""
    n = K.rows
    N = sigma**2 * K * K / (B * n)
    first = sigma**2 * K / (2 * B * (1 - beta))
    return first, (first * K / n - beta**2 * N / (1 - beta**2) - N) / (1 - beta), N / (1 - beta**2)


def derive_small_rate() -> Derivation:
    """E[q q^T] = eta sigma^2 K / (2B(1-beta)), E[q (Ap)^T] = eta Z, E[Ap (Ap)^T] = N / (1-beta^2) to leading order."""
    n, K = 2, symmetric("K", 2)
    first, Z, velocity = small_rate(K, B)
    moment = sympy.Matrix(sympy.BlockMatrix([[eta * first, eta * Z], [eta * Z.T, velocity]]))
    change = (next_moment(moment, K, eta, B, sigma, beta) - moment).expand()
    blocks = ((change[:n, :n], 2), (change[:n, n:], 1), (change[n:, n:], 0))  # each block at its leading order in eta
    parts = [block.applyfunc(lambda x, k=k: x.coeff(eta, k)) for block, order in blocks for k in range(order + 1)]
    shown = sympy.Eq(C_, eta * sigma**2 * K_ / (2 * B * (1 - beta)))
    text = "For small eta the floor is that of plain SGD with eta replaced by eta / (1 - beta):"
    return Derivation("momentum-small-eta", "C13", text, shown, entries(*parts))


def derive_drift() -> Derivation:
    """Along M: p <- beta p + m, u <- u - eta p mean force m = P_T h / 2, p steady; small eta by eta / (1 - beta)."""
    p, m, h = sympy.symbols("p m h", real=True)
    steady = sympy.solve(beta * p + m - p, p)[0]
    drift = (-eta * steady).subs(m, h / 2)
    stated = -eta / (2 * (1 - beta)) * h
    grad, effective = sympy.Symbol("grad"), eta / (1 - beta)
    small = stated.subs(h, eta * sigma**2 / (2 * B * (1 - beta)) * grad) + effective**2 * sigma**2 / (4 * B) * grad
    P_T, h_ = sympy.symbols("P_T h", commutative=False)
    shown = sympy.Eq(sympy.Symbol("du/dk"), -eta / (2 * (1 - beta)) * P_T * h_, evaluate=False)
    text = "Momentum accumulates the mean force along M; the drift per step, S from the qq block, is"
    return Derivation("momentum-drift", "C13", text, shown, entries(drift - stated, small))


@functools.cache
def derivations() -> tuple[Derivation, ...]:
    """Return the map, the floors and the drift of heavy ball."""
    return (derive_map(), derive_one_sample(), derive_small_rate(), derive_drift())
