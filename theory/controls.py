"""Noise and depth without which the drift is absent or another one (C10)."""

import functools

import sympy
from sympy import Expr, MatrixBase

from theory import notation
from theory.derivation import Derivation, entries, matrix, vector
from theory.scalar_coefficients import kernel_gram, kernel_label

eta, nu, r = notation.eta, notation.nu, notation.r


def derive_minibatch() -> Derivation:
    """At a minimum every row's gradient vanishes, so every batch's: without label noise nothing moves (C10)."""
    n, p = 2, 3
    A, y, f = matrix("A", n, p), vector("y", n), vector("f", n)
    rows = [A[i, :].T * (f[i] - y[i]) for i in range(n)]
    at = dict(zip(f, y, strict=True))
    shown = sympy.Eq((sympy.Symbol("f_b") - sympy.Symbol("y_b")) * sympy.Symbol("g_b"), 0, evaluate=False)
    text = "On the manifold f_b = y_b for every row: a step without label noise, whatever its batch, is zero."
    return Derivation("minibatch-noise-vanishes", "C10", text, shown, entries(*[row.subs(at) for row in rows]))


def derive_static() -> Derivation:
    """Labels corrupted once move the manifold, X w = y + e, and are as still there (C10)."""
    n, d = 2, 3
    X, y, e = matrix("X", n, d), vector("y", n), vector("e", n)
    normal = X[0, :].cross(X[1, :]).T
    ray = X.T * (X * X.T).inv() * (y + e) + notation.rho * normal
    shown = sympy.Eq(sympy.Symbol("X w"), sympy.Symbol("y") + sympy.Symbol("e"), evaluate=False)
    text = "Static label errors e are interpolated like labels: on the shifted manifold, for every rho, a step is zero."
    return Derivation("static-errors-shift", "C10", text, shown, entries(X * ray - (y + e)))


def derive_depth_one() -> Derivation:
    """At D = 1 a step moves u along rows of X only: P_N w is conserved under any noise, and K is constant (C10)."""
    d = 3
    x, s = vector("x", d), sympy.Symbol("s", real=True)
    u = vector("u", d)
    z = x.cross(u)  # any vector normal to the row
    moved = u - eta * s * x
    flat = [coefficient(sympy.Integer(1)).diff(r) for coefficient in (kernel_gram, kernel_label)]
    shown = sympy.Eq(sympy.Symbol("P_N u_{k+1}"), sympy.Symbol("P_N u_k"), evaluate=False)
    text = "At depth 1 the gradient of f_i is x_i: the null part never moves, and K does not change with the norm."
    return Derivation("depth-one-conserves", "C10", text, shown, entries(z.dot(moved) - z.dot(u), *flat))


def derive_geometry() -> Derivation:
    """Products and Laplacians of nu = |P_N u| and r = |u| in d dimensions, which give the Laplacian of R(nu, r)."""
    parts = []
    for n, d in ((1, 3), (2, 5)):
        u = vector("u", d)
        null, size = sympy.sqrt(u[n:, :].dot(u[n:, :])), sympy.sqrt(u.dot(u))
        parts += [_inner(null, null, u) - 1, _inner(size, size, u) - 1, _inner(null, size, u) - null / size]
        parts += [_laplacian(null, u) - (d - n - 1) / null, _laplacian(size, u) - (d - 1) / size]
    R = sympy.Function("R")(nu, r)
    n_, d_ = notation.n, sympy.Symbol("d", positive=True)
    shown = R.diff(nu, 2) + 2 * nu / r * R.diff(nu, r) + R.diff(r, 2)
    shown += (d_ - n_ - 1) / nu * R.diff(nu) + (d_ - 1) / r * R.diff(r)
    text = "The Laplacian in d dimensions of a function of nu = |P_N u| and r = |u|:"
    return Derivation("isotropic-laplacian", "C10", text, shown, entries(*parts))


def derive_isotropic() -> Derivation:
    """A step of isotropic noise eta tau xi moves the mean of a function R by (eta tau)^2 / 2 of its Laplacian (C10)."""
    tau, scale = sympy.Symbol("tau", positive=True), sympy.Symbol("epsilon")
    H, g = sympy.Matrix(2, 2, lambda i, j: sympy.Symbol(f"R{min(i, j)}{max(i, j)}")), vector("R", 2)
    steps = [scale * sign * sympy.Matrix([int(i == 0), int(i == 1)]) for i in range(2) for sign in (-1, 1)]
    # +-sqrt(2) e_i, equally likely, has the mean and covariance of a standard normal in two dimensions
    values = [(g.T * s)[0] * sympy.sqrt(2) + (s.T * H * s)[0] for s in steps]
    mean = sum(values) / len(values)
    square = sum(((g.T * s)[0] * sympy.sqrt(2)) ** 2 for s in steps) / len(steps)
    parts = [mean.subs(scale, eta * tau) - (eta * tau) ** 2 / 2 * (H[0, 0] + H[1, 1])]
    parts.append(square.subs(scale, eta * tau) - (eta * tau) ** 2 * g.dot(g))
    shown = sympy.Eq(sympy.Symbol("drho/dk"), (eta * tau) ** 2 / 2 * sympy.Symbol("Laplacian(rho_Phi)"), evaluate=False)
    text = "Isotropic gradient noise of deviation tau: drift below, variance (eta tau)^2 |grad(rho o Phi)|^2 per step."
    return Derivation("isotropic-drift", "C10", text, shown, entries(*parts))


def _inner(f: Expr, h: Expr, u: MatrixBase) -> Expr:
    return sum((f.diff(x) * h.diff(x) for x in u), sympy.Integer(0))


def _laplacian(f: Expr, u: MatrixBase) -> Expr:
    return sum((f.diff(x, 2) for x in u), sympy.Integer(0))


@functools.cache
def derivations() -> tuple[Derivation, ...]:
    """Return what stands still, and how isotropic noise moves."""
    return (derive_minibatch(), derive_static(), derive_depth_one(), derive_geometry(), derive_isotropic())
