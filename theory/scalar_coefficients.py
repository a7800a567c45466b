"""Radial, any g: the scalar coefficients of the law as expressions in r = |u| and rho; `scalar_law` proves them.

With N = r g = |w| and s = r N'/N the logarithmic slope (s = D for depth D), on the manifold
K = g^2 X X^T + (s^2 - 1) r^-2 y y^T.
"""

import functools

import sympy
from sympy import Expr
from sympy.integrals.manualintegrate import manualintegrate

from theory.notation import r, rho


@functools.cache
def tidy(expression: Expr) -> Expr:
    """Return a short equal form; powers of r merged, common factors cancelled where that is quick."""
    if sympy.count_ops(expression) > 50:
        return expression
    merged = sympy.powsimp(sympy.expand(expression))
    candidates = [expression, merged]
    if sympy.count_ops(merged) <= 60 and all(_small(power.exp) for power in merged.atoms(sympy.Pow)):
        candidates.append(sympy.powsimp(sympy.factor(merged)))
        if not merged.has(sympy.Function):  # simplify is slow there and rewrites tanh in sinh(2 r), which overflows
            candidates.append(sympy.simplify(merged))
    return min(candidates, key=lambda form: (sympy.count_ops(form), sympy.default_sort_key(form)))


def _small(exponent: Expr) -> bool:
    """Whether sympy's polynomials are quick with this exponent; r^(171/1000) makes them of degree 171."""
    return not exponent.is_Rational or (abs(exponent) <= 40 and exponent.q <= 4)


def power_law_depth(g: Expr) -> Expr | None:
    """Return D if g is a multiple of r^(D-1), else None."""
    slope = sympy.powsimp(sympy.expand(1 + r * g.diff(r) / g))
    return None if slope.has(r) else slope


def norm(g: Expr) -> Expr:
    """N(r) = |w| = r g(r)."""
    return tidy(r * g)


def log_slope(g: Expr) -> Expr:
    """s(r) = d ln N / d ln r."""
    return tidy(1 + r * g.diff(r) / g)


def kernel_gram(g: Expr) -> Expr:
    """Coefficient of X X^T in K on the manifold."""
    return tidy(g**2)


def kernel_label(g: Expr) -> Expr:
    """Coefficient of y y^T in K on the manifold: ((N')^2 - g^2) / N^2."""
    return tidy((log_slope(g) ** 2 - 1) / r**2)


def radius_slope(g: Expr) -> Expr:
    """dr/drho along the ray w = w_mn + rho z: rho / (N N')."""
    return tidy(rho / (norm(g) * norm(g).diff(r)))


def speed_squared(g: Expr) -> Expr:
    """|du/drho|^2 along the ray: (1 - (rho/N)^2) / g^2 + (rho/N)^2 / (N')^2."""
    share = (rho / norm(g)) ** 2
    return tidy((1 - share) / g**2 + share / norm(g).diff(r) ** 2)


def mobility(g: Expr) -> Expr:
    """(dr/drho) / |du/drho|^2, so that drho/dk = -(eta/2) G mobility."""
    s, N = log_slope(g), norm(g)
    return tidy(rho * N**2 * s / (r * tidy(s**2 * (N**2 - rho**2) + rho**2)))


def log_invariant(g: Expr) -> Expr | None:
    """Lambda(r) = integral of g' / (g + r g') dr, or None where no closed form is found."""
    integrand = tidy(g.diff(r) / norm(g).diff(r))
    parameters = integrand.free_symbols - {r}
    if integrand.has(sympy.Function) or not integrand.is_algebraic_expr(r) or len(parameters) > 1:
        return None
    antiderivative = manualintegrate(integrand, r)
    if antiderivative.has(sympy.Integral, sympy.Piecewise) or sympy.simplify(antiderivative.diff(r) - integrand) != 0:
        return None
    return tidy(antiderivative)
