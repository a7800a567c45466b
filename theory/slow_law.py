"""The quasistatic drift along the minima manifold, at any learning rate and batch, for any parametrization (C3).

Near a point of M every prediction is f_i(v) - y_i = g_i.v + v^T H_i v / 2 + ... with arbitrary g_i and symmetric H_i.
The derivations use these as symbols, so they hold for every parametrization at once.
"""

import functools

import sympy
from sympy import Expr, MatrixBase

from theory import landscape, notation
from theory.derivation import Derivation, entries, matrix, symmetric, vector
from theory.parametrization import Parametrization, Radial

eta, B, sigma, n_ = notation.eta, notation.B, notation.sigma, notation.n
P_T, h_, S_ = sympy.symbols("P_T h S", commutative=False)
Curvatures = list[MatrixBase]


def inverted(K: MatrixBase) -> MatrixBase:
    """K^-1 of size one or two, without the pivot tests that cost sympy minutes here."""
    if K.rows == 1:
        return sympy.Matrix([[1 / K[0]]])
    return sympy.Matrix([[K[1, 1], -K[0, 1]], [-K[1, 0], K[0, 0]]]) / (K[0, 0] * K[1, 1] - K[0, 1] * K[1, 0])


def parameter_covariance(A: MatrixBase, C: MatrixBase) -> MatrixBase:
    """S = A^T K^-1 C K^-1 A, (p, p)."""
    inverse = inverted(A * A.T)
    return A.T * inverse * C * inverse * A


def force(A: MatrixBase, curvatures: Curvatures, S: MatrixBase) -> MatrixBase:
    """h = (2/n) sum_i H_i S g_i, (p, 1)."""
    n = A.rows
    return sum((2 * H * S * A[i, :].T / n for i, H in enumerate(curvatures)), sympy.zeros(A.cols, 1))


def _local(n: int, p: int) -> tuple[MatrixBase, Curvatures]:
    return matrix("A", n, p), [symmetric(f"H{i + 1}", p) for i in range(n)]


def _second_order(field: MatrixBase, v: MatrixBase, S: MatrixBase) -> MatrixBase:
    """Mean of the terms of second order in v of a vector field, for E[v v^T] = S."""
    at_zero = dict.fromkeys(v, 0)
    return sympy.Matrix(
        [sum(sympy.hessian(entry, list(v)).subs(at_zero).multiply_elementwise(S)) / 2 for entry in field]
    )


@functools.cache
def derive_mean_step() -> Derivation:
    """The mean of one step to second order in the fluctuation (C3)."""
    n, p = 2, 3
    A, curvatures = _local(n, p)
    v, S = vector("v", p), symmetric("S", p)
    e = [(A[i, :] * v)[0] + (v.T * H * v)[0] / 2 for i, H in enumerate(curvatures)]
    L = sum(x**2 for x in e) / (2 * n)
    derived = _second_order(sympy.Matrix([L.diff(x) for x in v]), v, S)
    normal = sum(((S * H).trace() * A[i, :].T / (2 * n) for i, H in enumerate(curvatures)), sympy.zeros(p, 1))
    stated = normal + force(A, curvatures, S) / 2
    text = (
        "Fluctuations of covariance S around M shift the mean gradient, to second order, by a combination of the g_i "
        "(normal to M) plus h / 2 with"
    )
    shown = sympy.Eq(h_, 2 / n_ * sympy.Symbol("sum_i H_i S g_i"))
    return Derivation("mean-step", "C3", text, shown, entries(derived - stated))


@functools.cache
def derive_projection() -> Derivation:
    """Only the tangent part of the mean second-order step moves the slow point (C3)."""
    A, C = matrix("A", 2, 3), symmetric("C", 2)
    projector = sympy.eye(3) - A.T * inverted(A * A.T) * A
    S = parameter_covariance(A, C)
    A_, K_, C_ = sympy.symbols("A K C", commutative=False)
    AT = sympy.Symbol("A^T", commutative=False)
    text = "P_T removes every g_i, and residuals of covariance C leave normal fluctuations of covariance"
    shown = sympy.Eq(S_, AT * K_**-1 * C_ * K_**-1 * A_)
    return Derivation("projection", "C3", text, shown, entries(projector * A.T, A * S * A.T - C))


def derive_slow_law(parametrization: Parametrization) -> Derivation:
    """Third derivatives of the loss, component by component at (n, d) = (1, 2), against h from the closed curvature."""
    u, X = landscape.parameters(parametrization, 2), matrix("X", 1, 2)
    S, y = symmetric("S", len(u)), vector("y", 1)
    L = landscape.loss(parametrization, u, X, y)
    A = X * landscape.jacobian(parametrization, u)
    H = landscape.curvature(parametrization, u, X.T)
    fitted = {y[0]: (X * landscape.predictor(parametrization, u))[0]}
    derived = sympy.Matrix([_contracted(L.diff(x), u, S).subs(fitted) for x in u]) / 2
    stated = (S * H).trace() * A.T / 2 + force(A, [H], S) / 2
    shown = sympy.Eq(sympy.Symbol("du/dk"), -eta / 2 * P_T * h_, evaluate=False)
    text = "So on M, per step, u drifts along M by -(eta/2) P_T h. " + _force_in_words(parametrization)
    return Derivation("slow-law", "C3", text, shown, entries(derived - stated))


def _contracted(value: Expr, u: MatrixBase, S: MatrixBase) -> Expr:
    return sum(S[i, j] * value.diff(u[i], u[j]) for i in range(len(u)) for j in range(len(u)))


def _force_in_words(parametrization: Parametrization) -> str:
    if isinstance(parametrization, Radial):
        return "Here H_i = (g'/r)(x_i u^T + u x_i^T) + (x_i.u)[(g'/r)(I - u u^T/r^2) + g'' u u^T/r^2]."
    return "Here H_i is diagonal in the coordinates: x_ij times the second derivatives of F in its factors."


@functools.cache
def derive_small_rate() -> Derivation:
    """The small-eta limit of the slow law (C3; Li, Wang, Arora 2022)."""
    n, p = 2, 3
    A, curvatures = _local(n, p)
    v = vector("v", p)
    S = parameter_covariance(A, eta * sigma**2 * A * A.T / (2 * B))
    moved = [A[i, :].T + H * v for i, H in enumerate(curvatures)]
    trace = sum(g.dot(g) for g in moved) / n
    gradient = sympy.Matrix([trace.diff(x) for x in v]).subs(dict.fromkeys(v, 0))
    residual = force(A, curvatures, S) - eta * sigma**2 / (2 * B) * gradient
    grad = sympy.Symbol("grad_tr_H", commutative=False)
    text = "For small eta, C = eta sigma^2 K / (2 B), and the drift descends tr H along M (Li, Wang, Arora 2022):"
    shown = sympy.Eq(sympy.Symbol("du/dk"), -(eta**2) * sigma**2 / (4 * B) * P_T * grad)
    return Derivation("slow-law-small-eta", "C3", text, shown, entries(residual))


@functools.cache
def derive_full_batch() -> Derivation:
    """Along any direction t: h.t = -(s^2/n) d/dt log det(I - eta H / 2), for C = eta s^2 K (2n - eta K)^-1."""
    n, p = 2, 2
    A, curvatures = _local(n, p)
    t, s, x = vector("t", p), sympy.Symbol("s", positive=True), sympy.Symbol("x")
    C = eta * s**2 * A * A.T * inverted(2 * n * sympy.eye(n) - eta * A * A.T)
    derived = (t.T * force(A, curvatures, parameter_covariance(A, C)))[0]
    moved = sympy.Matrix.vstack(*[A[i, :] + x * (H * t).T for i, H in enumerate(curvatures)])
    det = (sympy.eye(n) - eta * moved * moved.T / (2 * n)).det()
    stated = -(s**2) / n * (det.diff(x) / det).subs(x, 0)
    potential = sympy.Symbol("log_det(I-eta*H/2)")
    text = "Full batch with fresh noise s on every label: h is the gradient of (Damian, Ma, Lee 2021)"
    s_ = sympy.Symbol("s")
    return Derivation("slow-law-full-batch", "C3", text, -(s_**2) / n_ * potential, entries(derived - stated))


@functools.cache
def derivations(parametrization: Parametrization) -> tuple[Derivation, ...]:
    """Return every step from the mean step to the drift of `parametrization`."""
    return (
        derive_mean_step(),
        derive_projection(),
        derive_slow_law(parametrization),
        derive_small_rate(),
        derive_full_batch(),
    )
