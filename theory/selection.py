"""Which point of the manifold the drift selects for small eta, Radial: the minimum-norm one, or a longer one (C5)."""

import functools

import sympy
from sympy import Expr

from theory import notation, scalar_law
from theory import scalar_coefficients as coefficients
from theory.derivation import Derivation, entries, vector
from theory.parametrization import Radial

r, n_ = notation.r, notation.n
inputs, labels, shortest = notation.frobenius**2, notation.label_norm**2, notation.w_mn_norm**2


def threshold(g: Expr) -> Expr | None:
    """ratio(r) = -label' / gram': psi' >= 0 iff ratio(r) |y|^2 <= |X|_F^2. None where gram' = 0 (no drift at all)."""
    gram, label = coefficients.kernel_gram(g).diff(r), coefficients.kernel_label(g).diff(r)
    return None if gram == 0 else coefficients.tidy(-label / gram)


def derive_threshold(radial: Radial) -> Derivation:
    """When the minimum-norm point is the flattest of its ray (C5)."""
    slope, ratio = scalar_law.trace_on_manifold(radial.g).diff(r), threshold(radial.g)
    if ratio is None:
        text = "Depth 1 is the control: tr H is constant on M and nothing drifts."
        return Derivation(
            "threshold", "C5, C10", text, sympy.Eq(sympy.Symbol("psi'"), 0, evaluate=False), entries(slope)
        )
    gram = coefficients.kernel_gram(radial.g).diff(r)
    shown = sympy.Le(ratio * labels, inputs, evaluate=False)
    text = (
        "tr H grows with r, so that the drift shortens w, where this holds; at r = |u(w_mn)| it decides the selection:"
    )
    return Derivation("threshold", "C5", text, shown, entries(n_ * slope / gram - (inputs - ratio * labels)))


def derive_stopping_norm(radial: Radial) -> Derivation | None:
    """Power law only: n psi' = 2 (D-1) r^-3 (r^(2D) |X|^2 - (D+1) |y|^2); the bracket is increasing, so one zero."""
    D, ratio = coefficients.power_law_depth(radial.g), threshold(radial.g)
    if D is None or ratio is None:
        return None
    stopping = (D + 1) * labels / inputs
    slope = scalar_law.trace_on_manifold(radial.g).diff(r)
    N = coefficients.norm(radial.g)
    stated = 2 * (D - 1) / n_ * (radial.g**2 / r) * inputs * (1 - stopping / N**2)
    text = "One zero of psi': the drift stops at |w|^2 below, or at |w_mn|^2 if that is larger; depth raises it."
    shown = sympy.Eq(sympy.Symbol("|w|^2"), stopping, evaluate=False)
    return Derivation("stopping-norm", "C5", text, shown, entries(slope - stated))


def derive_selected(radial: Radial) -> Derivation | None:
    """psi' at |w| = |w_mn| has the sign of |X|_F^2 |w_mn|^2 - (D+1) |y|^2."""
    D, ratio = coefficients.power_law_depth(radial.g), threshold(radial.g)
    if D is None or ratio is None:
        return None
    at_shortest = (inputs - ratio * labels).subs(r, (notation.w_mn_norm / radial.g.subs(r, 1)) ** (1 / D))
    if radial.g.subs(r, 1) != 1:
        return None
    residual = at_shortest * shortest - (inputs * shortest - (D + 1) * labels)
    shown = sympy.Le((D + 1) * labels, inputs * shortest, evaluate=False)
    text = "The minimum-norm solution is the flattest point of M iff"
    return Derivation("selection", "C5", text, shown, entries(residual))


@functools.cache
def derive_sufficient() -> Derivation:
    """In the singular basis of X: s_1^2 |w|^2 - |X w|^2 = sum_i (s_1^2 - s_i^2) c_i^2 >= 0, c those of w_mn."""
    s, c = vector("s", 3, positive=True), vector("c", 3)
    residual = s[0] ** 2 * c.dot(c) - sum((s[i] * c[i]) ** 2 for i in range(3))
    residual -= sum((s[0] ** 2 - s[i] ** 2) * c[i] ** 2 for i in range(3))
    text = "|y| <= |X|_op |w_mn|, so a stable rank of at least D + 1 suffices:"
    shown = sympy.Ge(sympy.Symbol("|X|_F^2/|X|_op^2"), notation.D + 1, evaluate=False)
    return Derivation("stable-rank", "C5", text, shown, entries(residual))


@functools.cache
def derivations(radial: Radial) -> tuple[Derivation, ...]:
    """Return the threshold, and for a power law where the drift stops and when the minimum norm is selected."""
    steps = [derive_threshold(radial), derive_stopping_norm(radial), derive_selected(radial)]
    present = tuple(step for step in steps if step is not None)
    return (*present, derive_sufficient()) if len(present) == 3 else present
