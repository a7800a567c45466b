"""Radial, any g: the drift of a d-dimensional SGD is one scalar ODE for rho = |P_N w| (C4, C6), obtained in two ways.

Frame: an orthogonal change of the inputs puts ker X last. n = 2, d = 3, X = [X' 0], so that the ray is w_mn + rho e_3
and u = (u1, u2, u3) is arbitrary with rho = g(r) u3. n = 1, d = 3 has two null directions and shows that the ray is
straight.
"""

import functools

import sympy
from sympy import Expr, MatrixBase

from theory import invariants, landscape, notation, slow_law
from theory import scalar_coefficients as coefficients
from theory.derivation import Derivation, entries, matrix, vector
from theory.parametrization import Radial

eta, B, sigma, n_, r, rho = (
    notation.eta,
    notation.B,
    notation.sigma,
    notation.n,
    notation.r,
    notation.rho,
)
XX, yy, K_, C_ = sympy.symbols("X*X^T y*y^T K C", commutative=False)


def ray(radial: Radial, u: MatrixBase) -> MatrixBase:
    """du/drho along w = w_mn + rho e_d: J^-1 e_d = e_d / g + (1/N' - 1/g) u_d u / r^2."""
    R, d = landscape.radius(u), len(u)
    g, slope = radial.g.subs(r, R), coefficients.norm(radial.g).diff(r).subs(r, R)
    return sympy.eye(d)[:, d - 1] / g + (1 / slope - 1 / g) * u[d - 1] / R**2 * u


def at(radial: Radial, u: MatrixBase, expression: Expr) -> Expr:
    """A coefficient in (r, rho) at the point u of the frame."""
    R = landscape.radius(u)
    return expression.subs(rho, radial.g.subs(r, R) * u[len(u) - 1]).subs(r, R)


def frame(n: int) -> tuple[MatrixBase, MatrixBase]:
    """u (3, 1) and X (n, 3) whose last 3 - n columns vanish."""
    return vector("u", 3), sympy.Matrix.hstack(matrix("X", n, n), sympy.zeros(n, 3 - n))


def turning(radial: Radial, u: MatrixBase, X: MatrixBase, direction: MatrixBase) -> MatrixBase:
    """A (D_t A)^T, (n, n), by differentiating X F(u) twice, component by component."""
    f = X * landscape.predictor(radial, u)
    moved = [sympy.hessian(entry, list(u)) * direction for entry in f]
    return f.jacobian(u) * sympy.Matrix.hstack(*moved)


def kernel_slope(radial: Radial, u: MatrixBase, X: MatrixBase) -> MatrixBase:
    """dK/dr on M: gram' X X^T + label' y y^T with y = X w."""
    y = X * landscape.predictor(radial, u)
    gram, label = coefficients.kernel_gram(radial.g), coefficients.kernel_label(radial.g)
    return (gram.diff(r) * X * X.T + label.diff(r) * y * y.T).subs(r, landscape.radius(u))


def derive_ray(radial: Radial) -> Derivation:
    """The ray of minima and its speed in u (C4)."""
    u, X = frame(2)
    t = ray(radial, u)
    g = radial.g
    parts = (
        landscape.jacobian(radial, u) * t - sympy.eye(3)[:, 2],
        X * landscape.jacobian(radial, u) * t,
        t.dot(t) - at(radial, u, coefficients.speed_squared(g)),
        u.dot(t) / landscape.radius(u) - at(radial, u, coefficients.radius_slope(g)),
    )
    text = "Moving rho by 1 on M moves u by a tangent vector t; dr/drho and |t|^2 are"
    shown = sympy.Tuple(coefficients.radius_slope(g), coefficients.speed_squared(g))
    return Derivation("ray", "C4", text, shown, entries(*parts))


def derive_straight(radial: Radial) -> Derivation:
    """The null-space part of w moves along a straight ray (C4)."""
    u, X = frame(1)
    across = sympy.Matrix([0, -u[2], u[1]])  # null directions off P_N w; tangent, and orthogonal to u
    text = "Across the ray the force vanishes: the direction z of the null-space part of w is conserved by the drift."
    turned = turning(radial, u, X, across)
    tangent = X * landscape.jacobian(radial, u) * across
    shown = sympy.Eq(sympy.Symbol("dz/dk"), sympy.S.Zero, evaluate=False)
    return Derivation("straight-ray", "C4", text, shown, entries(turned, tangent))


def derive_kernel_slope(radial: Radial) -> Derivation:
    """dK/dr along the ray (C4)."""
    u, X = frame(2)
    stated = at(radial, u, coefficients.radius_slope(radial.g)) / 2 * kernel_slope(radial, u, X)
    residual = turning(radial, u, X, ray(radial, u)) - stated
    gram, label = coefficients.kernel_gram(radial.g), coefficients.kernel_label(radial.g)
    slope = coefficients.tidy(gram.diff(r)) * XX + coefficients.tidy(label.diff(r)) * yy
    text = "A (D_t A)^T = (dr/drho)(dK/dr)/2 is symmetric, so h.t = (dr/drho) G, n G = tr[(dK/dr) K^-1 C], with dK/dr ="
    return Derivation("kernel-slope", "C4", text, slope, entries(residual))


def derive_scalar_law(radial: Radial) -> Derivation:
    """C3 and C4 in full at n = 1: C a symbol, h and S as defined, no formula shared. The plane u2 = 0 is no loss."""
    v, X = frame(1)
    c, f = sympy.Symbol("C", positive=True), (X * landscape.predictor(radial, v))[0]
    plane = {v[1]: 0}
    u, A = v.subs(plane), sympy.Matrix([[f.diff(x) for x in v]]).subs(plane)
    H, t = sympy.hessian(f, list(v)).subs(plane), ray(radial, v).subs(plane)
    h = slow_law.force(A, [H], slow_law.parameter_covariance(A, sympy.Matrix([[c]])))
    derived = -eta / 2 * h.dot(t) / t.dot(t)
    G = kernel_slope(radial, u, X)[0] * c / A.dot(A)
    stated = -eta / 2 * G * at(radial, u, coefficients.mobility(radial.g))
    g = radial.g
    mobility = coefficients.mobility(g) * coefficients.speed_squared(g) - coefficients.radius_slope(g)
    shown = sympy.Eq(sympy.Symbol("drho/dk"), -eta / 2 * sympy.Symbol("G") * coefficients.mobility(g), evaluate=False)
    text = "So the drift is one scalar ODE, rho = |P_N w|, r g(r) = |w|, |w|^2 = |w_mn|^2 + rho^2:"
    return Derivation("scalar-law", "C4", text, shown, entries(derived - stated, mobility))


def derive_second_way(radial: Radial) -> Derivation:
    """C4 from the invariant Q: A (Hess Q) A^T = -(g / (r N')) (dK/dr) / 2 and (dQ/drho) mobility = g / (r N')."""
    u, X = frame(2)
    g, slope = radial.g, coefficients.norm(radial.g).diff(r)
    A = (X * landscape.predictor(radial, u)).jacobian(u)
    hessian = invariants.radial_gradient(radial, u, null=1).jacobian(u)
    factor = coefficients.tidy(g / (r * slope))
    bend = A * hessian * A.T + factor.subs(r, landscape.radius(u)) / 2 * kernel_slope(radial, u, X)
    along = invariants.slope_on_manifold(g) * coefficients.mobility(g) - factor
    text = (
        "Second way, without expanding about M: Q is conserved to first order in every step, so per step E[dQ] = "
        "tr[A (Hess Q) A^T K^-1 C] eta / n. The two agree, with dQ/dk ="
    )
    shown = -eta / (2 * n_) * factor * sympy.Symbol("tr[(dK/dr)*K^-1*C]")
    return Derivation("scalar-law-second-way", "C4", text, shown, entries(bend, along))


def derive_small_rate(radial: Radial) -> Derivation:
    """psi = tr H on M; G = (1/n) tr[(dK/dr) K^-1 C] with C = eta sigma^2 K / (2B) is (eta sigma^2 / 2B) psi'."""
    psi = trace_on_manifold(radial.g)
    u, X = frame(2)
    y = X * landscape.predictor(radial, u)
    norms = {notation.frobenius: sympy.sqrt((X * X.T).trace()), notation.label_norm: sympy.sqrt(y.dot(y)), n_: X.rows}
    trace = landscape.kernel(radial, u, X).trace() / X.rows - psi.subs(norms).subs(r, landscape.radius(u))
    slope = kernel_slope(radial, u, X).trace() / X.rows - psi.diff(r).subs(norms).subs(r, landscape.radius(u))
    text = "For small eta G = (eta sigma^2 / 2B) psi'(r) with psi = tr H on M, a function of r alone:"
    return Derivation("scalar-law-small-eta", "C4", text, sympy.Eq(sympy.Symbol("psi"), psi), entries(trace, slope))


def derive_timescale(radial: Radial) -> Derivation:
    """dk/drho at small eta: its product with drho/dk is 1, and B / (eta^2 sigma^2) is all it has of the three."""
    psi_slope = trace_on_manifold(radial.g).diff(r)
    mobility = coefficients.mobility(radial.g)
    rate = -eta / 2 * (eta * sigma**2 / (2 * B) * psi_slope) * mobility
    density = -4 * B / (eta**2 * sigma**2) / (psi_slope * mobility)
    free = density * eta**2 * sigma**2 / B
    parts = (rate * density - 1, free.diff(eta), free.diff(sigma), free.diff(B))
    text = "The number of steps from rho_0 to rho_1 is the integral of dk/drho, proportional to B / (eta^2 sigma^2):"
    shown = sympy.Eq(sympy.Symbol("dk/drho"), coefficients.tidy(density))
    return Derivation("timescale", "C6", text, shown, entries(*parts))


def trace_on_manifold(g: Expr) -> Expr:
    """psi(r) = (gram |X|_F^2 + label |y|^2) / n."""
    gram, label = coefficients.kernel_gram(g), coefficients.kernel_label(g)
    return (gram * notation.frobenius**2 + label * notation.label_norm**2) / n_


@functools.cache
def derivations(radial: Radial) -> tuple[Derivation, ...]:
    """Return every step from the ray to the scalar law and its timescale."""
    steps = (
        derive_ray,
        derive_straight,
        derive_kernel_slope,
        derive_scalar_law,
        derive_second_way,
        derive_small_rate,
        derive_timescale,
    )
    drifts = coefficients.kernel_gram(radial.g).diff(r) != 0  # depth 1 does not, and takes no time to do so
    return tuple(step(radial) for step in steps if drifts or step is not derive_timescale)
