"""The decay-time curve: the final test loss as a function of the distance reached at the decay (C8).

After relaxation w = w_mn + rho zhat, and with w_star = w_mn + V a the test loss is R = |rho zhat - a|^2 / 2 in the
null space of X, zhat a unit vector there.
"""

import functools

import sympy
from sympy import Expr, MatrixBase

from theory import notation
from theory.derivation import Derivation, entries, vector

rho = notation.rho
best, R_, aligned = sympy.symbols("rho_star R c", real=True)
NULLITIES = (2, 3)  # dimensions of the null space in which averages over directions are integrated


def test_loss(rho: Expr, direction: MatrixBase, teacher: MatrixBase) -> Expr:
    """R = |rho zhat - a|^2 / 2 for zhat, a ``(m, 1)``."""
    gap = rho * direction - teacher
    return gap.dot(gap) / 2


def on_sphere(size: int) -> tuple[MatrixBase, list[tuple[sympy.Symbol, Expr, Expr]], Expr]:
    """A point of the sphere in ``size`` = 2 or 3 dimensions, the ranges of its angles, and the area element."""
    theta, phi = sympy.symbols("theta phi", real=True)
    if size == 2:
        return sympy.Matrix([sympy.cos(theta), sympy.sin(theta)]), [(theta, 0, 2 * sympy.pi)], sympy.Integer(1)
    point = [sympy.sin(theta) * sympy.cos(phi), sympy.sin(theta) * sympy.sin(phi), sympy.cos(theta)]
    return sympy.Matrix(point), [(theta, 0, sympy.pi), (phi, 0, 2 * sympy.pi)], sympy.sin(theta)


def derive_curve() -> Derivation:
    """R is a parabola in rho with its minimum at zhat . a, whatever the direction and the teacher (C8)."""
    t = sympy.Symbol("t", real=True)
    z = sympy.Matrix([1 - t**2, 2 * t]) / (1 + t**2)  # any unit vector of the plane that zhat and a span
    a = vector("a", 2)
    loss, at = test_loss(rho, z, a), z.dot(a)
    parts = [loss.diff(rho) - (rho - at), loss - loss.subs(rho, at) - (rho - at) ** 2 / 2]
    shown = sympy.Eq(R_, sympy.Symbol("R_min") + (rho - best) ** 2 / 2, evaluate=False)
    text = "On the ray of minima the test loss is a parabola with its least value at rho_star = zhat . V^T w_star:"
    return Derivation("final-test-loss", "C8", text, shown, entries(*parts))


def derive_slope() -> Derivation:
    """d R_final / d k = (rho - rho_star) d rho / dk: falls while rho > rho_star and the drift goes down."""
    k, speed = sympy.symbols("k v", real=True)
    path = sympy.Function("rho")(k)
    final = (path - best) ** 2 / 2
    slope = final.diff(k).subs(path.diff(k), speed) - (path - best) * speed
    shown = sympy.Eq(sympy.Symbol("dR/dk"), (rho - best) * sympy.Symbol("drho/dk"), evaluate=False)
    text = "The final test loss changes with the decay step k as the law's drift there:"
    return Derivation("decay-time-slope", "C8", text, shown, entries(slope))


def derive_excess() -> Derivation:
    """What the latest decay loses against the best one: rho_star^2 / 2 where rho_star > 0, nothing elsewhere."""
    loss = (rho - aligned) ** 2 / 2
    above = sympy.Symbol("c_above", positive=True)
    behind = -above
    rises = loss.subs({rho: 0, aligned: above}) - loss.subs({rho: above, aligned: above}) - above**2 / 2
    slope_behind = (loss.diff(rho) - (rho + above)).subs(aligned, behind)
    shown = sympy.Le(sympy.Symbol("R_0") - sympy.Symbol("R_min"), best**2 / 2, evaluate=False)
    text = (
        "A decay after the drift has ended loses at most this; with zhat . V^T w_star < 0 the curve falls throughout."
    )
    return Derivation("decay-time-excess", "C8", text, shown, entries(rises, slope_behind))


def derive_spread() -> Derivation:
    """For a start independent of the teacher E (zhat . a)^2 = |a|^2 / (d - n): integrated over the sphere."""
    parts = []
    for size in NULLITIES:
        z, ranges, area = on_sphere(size)
        a = vector("a", size)
        mean = sympy.integrate(sympy.expand(z.dot(a) ** 2 * area), *ranges) / sympy.integrate(area, *ranges)
        parts.append(mean - a.dot(a) / size)
    n, d, gap = notation.n, sympy.Symbol("d", positive=True), sympy.Symbol("|P_N w_star|^2")
    shown = sympy.Le(sympy.Symbol("E rho_star^2"), gap / (d - n), evaluate=False)
    text = "Over start directions independent of the teacher (rho_star = max(0, zhat . V^T w_star)):"
    return Derivation("decay-time-spread", "C8", text, shown, entries(*parts))


@functools.cache
def derivations() -> tuple[Derivation, ...]:
    """Return the parabola, its slope along the run, the loss of the latest decay and its mean over starts."""
    return (derive_curve(), derive_slope(), derive_excess(), derive_spread())
