"""What flows inside span{g_i} conserve, with any residuals, and the slow law obtained from it a second time.

Gradient flow, SGD's first order and any other combination of the g_i conserve these functions; so the relaxation onto
the manifold is known in closed form. Derived for this project.
"""

import functools

import sympy
from sympy import Expr, MatrixBase

from theory import landscape, notation, slow_law
from theory import scalar_coefficients as coefficients
from theory.derivation import Derivation, entries, matrix, symmetric, vector
from theory.parametrization import Coordinatewise, DiagonalNetwork, Parametrization, Radial

r, rho, nu, n_, eta = notation.r, notation.rho, notation.nu, notation.n, notation.eta


def radial_gradient(radial: Radial, u: MatrixBase, null: int) -> MatrixBase:
    """grad Q = P_N u / nu^2 - Lambda'(r) u / r, Lambda' = g' / (g + r g'); ker X is the last `null` coordinates."""
    row = len(u) - null
    part = sympy.Matrix([0] * row + list(u[row:, 0]))
    R = landscape.radius(u)
    return part / part.dot(part) - invariant_slope(radial.g).subs(r, R) / R * u


def invariant_slope(g: Expr) -> Expr:
    """Lambda'(r) = g' / (g + r g')."""
    return g.diff(r) / (g + r * g.diff(r))


def slope_on_manifold(g: Expr) -> Expr:
    """dQ/drho for Q = ln(rho / g(r)) - Lambda(r) along M."""
    return 1 / rho - (g.diff(r) / g + invariant_slope(g)) * coefficients.radius_slope(g)


def derive_radial_invariant(radial: Radial) -> Derivation:
    """d = 4, ker X = span(e3, e4), x any row: P_N g_x is parallel to P_N u, and grad Q . g_x = 0."""
    u, (x1, x2) = vector("u", 4), sympy.symbols("x1 x2", real=True)
    x = sympy.Matrix([x1, x2, 0, 0])
    f = x.dot(landscape.predictor(radial, u))
    g_x = sympy.Matrix([f.diff(symbol) for symbol in u])
    parts = [radial_gradient(radial, u, null=2).dot(g_x), g_x[2] * u[3] - g_x[3] * u[2]]
    closed = coefficients.log_invariant(radial.g)
    shown = sympy.Eq(sympy.Symbol("Q"), sympy.log(nu) - _integral(radial.g, closed), evaluate=False)
    if closed is not None:
        parts.append(closed.diff(r) - invariant_slope(radial.g))
    text = "Every flow inside span{g_i} conserves the direction of P_N u and, with nu = |P_N u|, r = |u|,"
    return Derivation("radial-invariant", "C4, C7", text, shown, entries(*parts))


def _integral(g: Expr, closed: Expr | None) -> Expr:
    return sympy.Integral(invariant_slope(g), r) if closed is None else closed


def derive_relaxation(radial: Radial) -> Derivation:
    """On M nu = rho / g. dQ/dln rho = g^2 |du/drho|^2 > 0: Q is increasing in rho, and Q(rho) = Q(u) has one root."""
    g = radial.g
    derived = rho * slope_on_manifold(g)
    stated = g**2 * coefficients.speed_squared(g)
    text = "The relaxation onto M solves Q(rho) = Q(u): one root, since on M dQ/dln rho = g^2 |t|^2 > 0, which is"
    parts = [derived - stated]
    depth = coefficients.power_law_depth(g)
    if depth is not None:  # the bracket of C4 and the closed form of Q on M
        N = coefficients.norm(g)
        bracket = 1 - (1 - depth**-2) * (rho / N) ** 2
        on_manifold = (depth**2 - 1) / depth / r - g.diff(r) / g - invariant_slope(g)
        parts += [derived - bracket, on_manifold]
    return Derivation("relaxation", "C4, C7", text, coefficients.tidy(stated), entries(*parts))


@functools.cache
def derive_law_from_invariant() -> Derivation:
    """Any Q with grad Q . g_i = 0 near M: E[dQ] of one step is -(eta/2) grad Q . h, the slow law again.

    Differentiating the identity, (Hess Q) g_i = -H_i grad Q. With grad Q = (t, 0, 0) this fixes the first row of H_i;
    all else is arbitrary. E[dQ] = tr[(Hess Q) A^T (eta^2 E s s^T) A] / 2, and by C2
    eta^2 E s s^T = (eta/n)(K^-1 C + C K^-1).
    """
    n, p = 2, 3
    A = sympy.Matrix.hstack(sympy.zeros(n, 1), matrix("A", n, p - 1))
    Q, C, t = symmetric("Q", p), symmetric("C", n), sympy.Symbol("t", positive=True)
    curvatures = []
    for i in range(n):
        H, first = symmetric(f"H{i + 1}", p), -Q * A[i, :].T / t
        for j in range(p):
            H[0, j] = H[j, 0] = first[j]
        curvatures.append(H)
    inverse = slow_law.inverted(A * A.T)
    moment = eta / n * (inverse * C + C * inverse)
    derived = (A * Q * A.T * moment).trace() / 2
    gradient = sympy.Matrix([t, 0, 0])
    stated = -eta / 2 * gradient.dot(slow_law.force(A, curvatures, slow_law.parameter_covariance(A, C)))
    fixed = A * A.T * moment * A * A.T - eta / n * (A * A.T * C + C * A * A.T)  # the left side of C2
    text = "For any conserved Q, E[Q_next - Q] of one SGD step, to second order, is the slow law a second time:"
    shown = sympy.Eq(sympy.Symbol("dQ/dk"), -eta / 2 * sympy.Symbol("grad_Q") * sympy.Symbol("h"), evaluate=False)
    return Derivation("law-from-invariant", "C3, C4", text, shown, entries(derived - stated, fixed))


def derive_mirror_invariant(parametrization: Coordinatewise) -> Derivation:
    """n = 1, d = 2, V = (-x2, x1): grad(V . h(u)) . g = 0 with h' = 1 / f'."""
    u, X = landscape.parameters(parametrization, 2), matrix("X", 1, 2)
    g = sympy.Matrix([(X * landscape.predictor(parametrization, u))[0].diff(x) for x in u])
    slope = parametrization.f.diff(notation.u)
    h = [1 / slope.subs(notation.u, x).doit() for x in u]
    text = "A mirror flow: every flow inside span{g_i} conserves V^T h(u), V a basis of ker X, with h ="
    shown = sympy.Integral(1 / landscape.readable(slope, parametrization), notation.u)
    return Derivation("mirror-invariant", "C3, C7", text, shown, entries(-X[1] * h[0] * g[0] + X[0] * h[1] * g[1]))


def derive_network_invariant(network: DiagonalNetwork) -> Derivation | None:
    """Per coordinate, d - n + d invariants in all: for F = phi(a) + chi(b), and for F = a b. None for other F."""
    a, b = notation.a, notation.b
    F_a, F_b = network.F.diff(a), network.F.diff(b)
    if sympy.simplify(F_a.diff(b)) == 0:
        per_coordinate, along = (1 / F_a, -1 / F_b), (1 / F_a, sympy.S.Zero)
        shown = sympy.Tuple(sympy.Integral(1 / F_a, a) - sympy.Integral(1 / F_b, b), sympy.Integral(1 / F_a, a))
    elif sympy.expand(network.F - a * b) == 0:
        per_coordinate, along = (2 * a, -2 * b), (1 / (a + b), 1 / (a + b))
        shown = sympy.Tuple(a**2 - b**2, sympy.log(a + b))
    else:
        return None
    conserved = per_coordinate[0] * F_a + per_coordinate[1] * F_b
    clock = along[0] * F_a + along[1] * F_b - 1  # its rate is x_i.e, as V^T X^T = 0 needs
    text = "Every flow inside span{g_i} conserves the first function per coordinate, and V^T of the second:"
    return Derivation("network-invariant", "C3, C7", text, shown, entries(conserved, clock))


@functools.cache
def derivations(parametrization: Parametrization) -> tuple[Derivation, ...]:
    """Return what flows inside span{g_i} conserve for `parametrization`, and the law that follows from it."""
    if isinstance(parametrization, Radial):
        own: list[Derivation | None] = [derive_radial_invariant(parametrization), derive_relaxation(parametrization)]
    elif isinstance(parametrization, Coordinatewise):
        own = [derive_mirror_invariant(parametrization)]
    else:
        own = [derive_network_invariant(parametrization)]
    return (*(step for step in own if step is not None), derive_law_from_invariant())
