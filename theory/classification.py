"""Cross-entropy with labels flipped afresh, reduced to the squared loss with label noise (C11).

A row's label is +1 with probability 1 - p_f and -1 with p_f (by symmetry the other class is the mirror image); its loss
is ln(1 + exp(-z f)), with slope -z s(-z f) in the logit f, s the logistic function.
"""

import functools

import sympy
from sympy import Expr

from theory import noise_floor, notation
from theory.derivation import Derivation, entries, matrix, symmetric, vector

eta, B, n_ = notation.eta, notation.B, notation.n
flip = sympy.Symbol("p_f", positive=True)
f_, q_ = sympy.Symbol("f", real=True), sympy.Symbol("q", positive=True)


def slope(f: Expr, z: int) -> Expr:
    """d ln(1 + exp(-z f)) / df."""
    return -z / (1 + sympy.exp(z * f))


def mean_slope(f: Expr) -> Expr:
    """The slope averaged over flips, s(f) - (1 - p_f)."""
    return (1 - flip) * slope(f, 1) + flip * slope(f, -1)


def variance(f: Expr) -> Expr:
    """The variance of the slope over flips."""
    return (1 - flip) * slope(f, 1) ** 2 + flip * slope(f, -1) ** 2 - mean_slope(f) ** 2


def derive_target() -> Derivation:
    """The mean slope vanishes at f = ln((1 - p_f)/p_f): the logits that flips make the target (C11)."""
    target = sympy.log((1 - flip) / flip)
    text = "The loss averaged over flips has its minimum where the logit is"
    shown = sympy.Eq(f_, target, evaluate=False)
    return Derivation("flip-target", "C11", text, shown, entries(mean_slope(target)))


def derive_variance() -> Derivation:
    """There the curvature in f and the variance of a step's slope are the same q = p_f (1 - p_f) (C11)."""
    target, q = sympy.log((1 - flip) / flip), flip * (1 - flip)
    parts = (mean_slope(f_).diff(f_).subs(f_, target) - q, variance(target) - q)
    text = "There the mean loss's curvature in f, and the variance of one draw's slope, are both"
    return Derivation("flip-variance", "C11", text, sympy.Eq(q_, q, evaluate=False), entries(*parts))


def derive_reduction() -> Derivation:
    """So the second moment moves as for the squared loss at learning rate q eta and label-noise variance 1/q (C11)."""
    n, batch = 2, 2
    e, K = vector("e", n), symmetric("K", n)

    def squared(signal: sympy.MatrixBase) -> sympy.MatrixBase:
        after = e - eta * q_ * K * signal
        return after * after.T

    stated = noise_floor.next_covariance(e * e.T, K, q_ * eta, batch, 1 / sympy.sqrt(q_))
    enumerated = noise_floor.batch_mean(squared, e, batch).subs(notation.sigma, 1 / sympy.sqrt(q_))
    draw = sympy.Symbol("xi")  # a draw's slope is q e + sqrt(q) xi, of mean q e and variance q
    same = q_ * e[0] + sympy.sqrt(q_) * draw - q_ * (e[0] + draw / sympy.sqrt(q_))
    shown = sympy.Tuple(sympy.Eq(sympy.Symbol("eta_sq"), q_ * eta), sympy.Eq(sympy.Symbol("sigma_sq^2"), 1 / q_))
    text = (
        "With e = f - f_target a draw's slope is q e plus noise of variance q: label-noise SGD on the squared loss with"
    )
    return Derivation("flip-reduction", "C11", text, shown, entries(stated - enumerated, same))


def derive_normal() -> Derivation:
    """The slope's curvature s''(f) e^2 / 2 pushes along gradients of f only, and P_T removes those (C11)."""
    n, p = 2, 3
    A, force = matrix("A", n, p), vector("c", n)
    P_T = sympy.eye(p) - A.T * (A * A.T).inv() * A
    P, A_T, c = sympy.symbols("P_T A^T c", commutative=False)
    shown = sympy.Eq(P * A_T * c, 0, evaluate=False)
    text = "What the logistic function's curvature adds is a force sum_i c_i g_i, normal to the manifold: no drift."
    return Derivation("flip-curvature-is-normal", "C11", text, shown, entries(P_T * A.T * force))


@functools.cache
def derivations() -> tuple[Derivation, ...]:
    """Return the target, the variance, the reduction to the squared loss, and what the reduction leaves out."""
    return (derive_target(), derive_variance(), derive_reduction(), derive_normal())
