"""Jacobian, gradient, Hessian and kernel of the train loss, on and off the minima manifold (C1, C12, C15).

Every matrix form is compared with component-wise differentiation of L(u) = |X F(u) - y|^2 / (2 n) at small (n, d).
"""

import functools

import sympy
from sympy import Expr, MatrixBase

from theory import notation
from theory import scalar_coefficients as coefficients
from theory.derivation import Derivation, entries, matrix, vector
from theory.lower import smooth
from theory.parametrization import Parametrization, Radial, Separable

MatrixSymbol, Eq = sympy.MatrixSymbol, sympy.Eq


def parameters(parametrization: Parametrization, d: int) -> MatrixBase:
    """Return u, (p, 1). Separable ones at positive coordinates: the odd extension carries them over."""
    if isinstance(parametrization, Radial):
        return vector("u", d)
    return sympy.Matrix(
        [entry for factor in parametrization.factors for entry in vector(str(factor), d, positive=True)]
    )


def radius(u: MatrixBase) -> Expr:
    """r = |u|."""
    return sympy.sqrt(u.dot(u))


def predictor(parametrization: Parametrization, u: MatrixBase) -> MatrixBase:
    """w = F(u), (d, 1): the definition."""
    if isinstance(parametrization, Radial):
        return parametrization.g.subs(notation.r, radius(u)) * u
    return sympy.Matrix(_coordinates(parametrization, parametrization.expression, u))


def jacobian(parametrization: Parametrization, u: MatrixBase) -> MatrixBase:
    """J, (d, p). Radial: g I + (g'/r) u u^T. Separable: the diagonals of the slopes side by side."""
    if isinstance(parametrization, Radial):
        g, g_slope = _jet(parametrization, u, 1)
        return g * sympy.eye(len(u)) + g_slope / radius(u) * u * u.T
    F = parametrization.expression
    return sympy.Matrix.hstack(
        *[sympy.diag(*_coordinates(parametrization, F.diff(x), u)) for x in parametrization.factors]
    )


def curvature(parametrization: Parametrization, u: MatrixBase, c: MatrixBase) -> MatrixBase:
    """Sum_j c_j Hessian(F_j), (p, p), for weights c (d, 1).

    Radial: (g'/r)(c u^T + u c^T) + (c.u)[(g'/r)(I - u u^T/r^2) + g'' u u^T/r^2]. Separable: diagonal blocks.
    """
    if isinstance(parametrization, Radial):
        r, (_, first, second) = radius(u), _jet(parametrization, u, 2)
        unit = u * u.T / r**2
        return first / r * (c * u.T + u * c.T) + c.dot(u) * (first / r * (sympy.eye(len(u)) - unit) + second * unit)
    F, factors = parametrization.expression, parametrization.factors
    return sympy.Matrix(
        sympy.BlockMatrix([[_weighted(parametrization, F.diff(x, z), u, c) for z in factors] for x in factors])
    )


def kernel(parametrization: Parametrization, u: MatrixBase, X: MatrixBase) -> MatrixBase:
    """K = A A^T, (n, n), from the closed form: Radial g^2 X X^T + ((N')^2 - g^2) r^-2 Xu (Xu)^T."""
    if isinstance(parametrization, Radial):
        g, slope = _jet(parametrization, u, 1)
        r = radius(u)
        return g**2 * X * X.T + ((g + r * slope) ** 2 - g**2) / r**2 * (X * u) * (X * u).T
    F = parametrization.expression
    squares = [sympy.diag(*_coordinates(parametrization, F.diff(x) ** 2, u)) for x in parametrization.factors]
    return X * sum(squares[1:], squares[0]) * X.T


def loss(parametrization: Parametrization, u: MatrixBase, X: MatrixBase, y: MatrixBase) -> Expr:
    """L = |X F(u) - y|^2 / (2 n): the definition."""
    residual = X * predictor(parametrization, u) - y
    return residual.dot(residual) / (2 * X.rows)


def _jet(radial: Radial, u: MatrixBase, order: int) -> list[Expr]:
    """g, g', ... at r = |u|."""
    return [radial.g.diff(notation.r, k).subs(notation.r, radius(u)) for k in range(order + 1)]


def _coordinates(separable: Separable, expression: Expr, u: MatrixBase) -> list[Expr]:
    """`expression` at each coordinate j, its factors replaced by the j-th entries of their blocks."""
    d = len(u) // len(separable.factors)
    at = [{x: u[block * d + j] for block, x in enumerate(separable.factors)} for j in range(d)]
    return [expression.subs(point, simultaneous=True).doit() for point in at]


def _weighted(separable: Separable, expression: Expr, u: MatrixBase, c: MatrixBase) -> MatrixBase:
    values = _coordinates(separable, expression, u)
    return sympy.diag(*[weight * value for weight, value in zip(c, values, strict=True)])


def _small(parametrization: Parametrization, n: int = 2, d: int = 3) -> tuple[MatrixBase, MatrixBase, MatrixBase]:
    return parameters(parametrization, d), matrix("X", n, d), vector("y", n)


def general_form(parametrization: Parametrization) -> Expr:
    """The definition as an equation for the printed chain."""
    if isinstance(parametrization, Radial):
        return Eq(sympy.Symbol("w"), sympy.Mul(parametrization.g, sympy.Symbol("u"), evaluate=False), evaluate=False)
    return Eq(sympy.Symbol("w_j"), parametrization.expression, evaluate=False)


def derive_jacobian(parametrization: Parametrization) -> Derivation:
    """J of w = F(u) equals its component-wise derivative."""
    u, _, _ = _small(parametrization)
    residual = predictor(parametrization, u).jacobian(u) - jacobian(parametrization, u)
    if isinstance(parametrization, Radial):
        g = parametrization.g
        parts = (coefficients.tidy(g), coefficients.tidy(coefficients.norm(g).diff(notation.r)))
        text = "J acts as g across u and as N' = (r g)' along u: the two numbers below."
    else:
        F = parametrization.expression
        parts = tuple(readable(F.diff(x), parametrization) for x in parametrization.factors)
        text = "J is diagonal in every factor, with the slopes below."
    return Derivation("jacobian", "definition", text, sympy.Tuple(*parts), entries(residual))


def derive_gradient(parametrization: Parametrization) -> Derivation:
    """The gradient is A^T e / n (C1)."""
    u, X, y = _small(parametrization)
    A = X * jacobian(parametrization, u)
    stated = A.T * (X * predictor(parametrization, u) - y) / X.rows
    derived = sympy.Matrix([loss(parametrization, u, X, y).diff(x) for x in u])
    e, n = sympy.Symbol("e", commutative=False), notation.n
    shown = Eq(sympy.Symbol("grad_L"), sympy.Symbol("A^T", commutative=False) * e / n)
    return Derivation(
        "gradient", "C1", "grad L = A^T e / n with A = X J and e = X F(u) - y.", shown, entries(derived - stated)
    )


def derive_hessian(parametrization: Parametrization) -> Derivation:
    """The Hessian off the manifold: Gauss-Newton part plus residuals times curvature (C15)."""
    u, X, y = _small(parametrization)
    A, e = X * jacobian(parametrization, u), X * predictor(parametrization, u) - y
    stated = (A.T * A + curvature(parametrization, u, X.T * e)) / X.rows
    derived = sympy.hessian(loss(parametrization, u, X, y), list(u))
    A_, B_ = sympy.symbols("A^T*A sum_i(e_i*Hess_f_i)")
    shown = Eq(sympy.Symbol("Hess_L"), (A_ + B_) / notation.n)
    text = "Off the manifold the Hessian is the Gauss-Newton part plus the residuals times the curvature of F."
    return Derivation("hessian", "C15", text, shown, entries(derived - stated))


def derive_hessian_on_manifold(parametrization: Parametrization) -> Derivation:
    """On the manifold H = A^T A / n, tr H = tr K / n (C15)."""
    u, X, y = _small(parametrization)
    fitted = dict(zip(y, X * predictor(parametrization, u), strict=True))
    derived = sympy.hessian(loss(parametrization, u, X, y), list(u)).subs(fitted, simultaneous=True)
    A = X * jacobian(parametrization, u)
    trace = kernel(parametrization, u, X).trace() / X.rows
    text = "On the manifold e = 0: H = A^T A / n and tr H = tr K / n."
    shown = Eq(sympy.Symbol("tr_H"), sympy.Symbol("tr_K") / notation.n)
    return Derivation(
        "hessian-on-manifold", "C15", text, shown, entries(derived - A.T * A / X.rows, derived.trace() - trace)
    )


def derive_kernel(parametrization: Parametrization) -> Derivation:
    """The tangent kernel K = A A^T on the manifold (C1, C4)."""
    u, X, _ = _small(parametrization)
    A = X * jacobian(parametrization, u)
    difference = A * A.T - kernel(parametrization, u, X)
    XX, yy = sympy.symbols("X*X^T y*y^T")
    if not isinstance(parametrization, Radial):
        slopes = sum(parametrization.expression.diff(x) ** 2 for x in parametrization.factors)
        left, right = sympy.symbols("X X^T", commutative=False)
        middle = sympy.Function("diag", commutative=False)(readable(slopes, parametrization))
        shown = Eq(sympy.Symbol("K", commutative=False), left * middle * right)
        text = "K is the Gram matrix of the inputs weighted by the sum of squared slopes at each coordinate."
        return Derivation("kernel", "C1", text, shown, entries(difference))
    g, y = parametrization.g, X * predictor(parametrization, u)
    gram, label = coefficients.kernel_gram(g), coefficients.kernel_label(g)
    stated = (gram * X * X.T + label * y * y.T).subs(notation.r, radius(u))
    shown = Eq(sympy.Symbol("K"), gram * XX + label * yy, evaluate=False)
    text = "On the manifold X u = y / g, so K depends on u through r = |u| alone."
    return Derivation("kernel", "C1, C4", text, shown, entries(difference, A * A.T - stated))


def derive_saturation(parametrization: Parametrization) -> Derivation:
    """dL/dt <= -2 mu L along gradient flow, with what it needs of K (C1)."""
    u, X, y = _small(parametrization, d=2)
    L = loss(parametrization, u, X, y)
    e = X * predictor(parametrization, u) - y
    decay = -(sympy.Matrix([L.diff(x) for x in u]).T * sympy.Matrix([L.diff(x) for x in u]))[0]
    stated = -(e.T * kernel(parametrization, u, X) * e)[0] / X.rows**2
    residual = [decay - stated]
    text = "Along gradient flow dL/dt = -e^T K e / n^2 <= -2 mu L, mu = lambda_min(K) / n."
    shown = Eq(sympy.Symbol("dL/dt"), -sympy.Symbol("e^T*K*e") / notation.n**2)
    if isinstance(parametrization, Radial):
        extra, s = _rank_one(parametrization)
        residual.append(extra)
        text += f" K - g^2 X X^T is rank one with weight g^2 (s^2 - 1), s = r N'/N = {s}: not negative where s >= 1."
    return Derivation("saturation", "C1", text, shown, entries(*residual))


def _rank_one(radial: Radial) -> tuple[Expr, Expr]:
    """(N')^2 - g^2 = g^2 (s - 1)(s + 1)."""
    g, s = radial.g, coefficients.log_slope(radial.g)
    return (g + notation.r * g.diff(notation.r)) ** 2 - g**2 - g**2 * (s - 1) * (s + 1), s


@functools.cache
def derive_spectrum() -> Derivation:
    """det(x - A^T A) = x^(p - n) det(x - A A^T) at (n, p) = (2, 3), A arbitrary."""
    A, x = matrix("A", 2, 3), sympy.Symbol("x")
    residual = (x * sympy.eye(3) - A.T * A).det() - x * (x * sympy.eye(2) - A * A.T).det()
    text = (
        "The nonzero eigenvalues of H are those of K / n: p - n flat directions, and a level set L <= eps has "
        "half-widths sqrt(2 eps / lambda_i(K/n)) across them."
    )
    p, n = sympy.symbols("p n")
    return Derivation("spectrum", "C15", text, Eq(sympy.Symbol("nullity_H"), p - n), entries(residual))


def derive_span(radial: Radial) -> Derivation:
    """g_i = g x_i + (g'/r)(x_i.u) u: gradients lie in span(rows of X, u) (C12)."""
    u, X, _ = _small(radial, n=1)
    x = X.T
    g, slope = _jet(radial, u, 1)
    derived = sympy.Matrix([(X * predictor(radial, u))[0].diff(symbol) for symbol in u])
    r = notation.r
    shown = sympy.Tuple(radial.g, coefficients.tidy(radial.g.diff(r) / r))
    text = "g_i = g x_i + (g'/r)(x_i.u) u: every step stays in span(rows of X, u_0), whatever d. The two coefficients:"
    return Derivation("span", "C12", text, shown, entries(derived - g * x - slope / radius(u) * x.dot(u) * u))


def derive_test_hessian(radial: Radial) -> Derivation:
    """At w_mn, w* = w_mn + v, v in ker X: the test Hessian has determinant g^(2(d-2)) (g^2 N'^2 - g'^2 |v|^2).

    Frame: d = 3, u = (r, 0, 0), v = (0, |v|, 0), which any orthogonal rotation reaches.
    """
    r, v = notation.r, sympy.Symbol("v", positive=True)
    u, w_star = vector("u", 3), vector("w", 3)
    gap = predictor(radial, u) - w_star
    hessian = sympy.hessian(gap.dot(gap) / 2, list(u)).subs({u[1]: 0, u[2]: 0}).subs(u[0], r)
    g, slope = radial.g, radial.g.diff(r)
    hessian = hessian.subs({w_star[0]: r * g, w_star[1]: v, w_star[2]: 0})
    stated = g**2 * (g**2 * (g + r * slope) ** 2 - slope**2 * v**2)
    shown = Eq(
        sympy.Symbol("det"), sympy.Mul(coefficients.tidy(g**2), coefficients.tidy(stated / g**2), evaluate=False)
    )
    text = (
        "At w_mn the test Hessian (clean labels, v = P_N w*) has no null direction except at |v| = g N'/g' exactly, "
        "and beyond that length one negative eigenvalue; depth D: |v| = D/(D-1) |w_mn|. Determinant at d = 3:"
    )
    return Derivation("test-hessian", "C15", text, shown, entries(hessian.det() - stated))


@functools.cache
def derivations(parametrization: Parametrization) -> tuple[Derivation, ...]:
    """Return every step about the landscape of `parametrization`."""
    steps = [
        derive_jacobian,
        derive_gradient,
        derive_kernel,
        derive_hessian,
        derive_hessian_on_manifold,
        derive_saturation,
    ]
    common = [step(parametrization) for step in steps]
    if isinstance(parametrization, Radial):
        return (*common, derive_spectrum(), derive_span(parametrization), derive_test_hessian(parametrization))
    return (*common, derive_spectrum())


def readable(expression: Expr, separable: Separable) -> Expr:
    """The derivative of a separable F with sign(x) |x| worked out."""
    return smooth(expression, separable.factors)
