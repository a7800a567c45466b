"""Decide exactly whether an expression is identically zero: write it as a ratio of polynomials, look at the numerator.

Roots of sums of squares, real powers such as r^(2D-3) and elementary functions become generators of their own, so the
test is quick where `simplify` takes minutes. It never calls a nonzero expression zero: a numerator that vanishes with
independent generators vanishes with dependent ones. Where it does not vanish, `sympy.simplify` has the last word.
"""

import functools
import math
import random
from collections.abc import Callable

import sympy
from mpmath import mp  # type: ignore[import-untyped]
from sympy import Expr, Symbol
from sympy.polys.rings import PolyElement, PolyRing

Relation = tuple[Symbol, Expr]


@functools.lru_cache(maxsize=4096)
def vanishes(expression: Expr) -> bool:
    """Whether `expression` is zero identically: by its numerator and at three random rational points."""
    return zero_at_random_points(expression) and (_numerator_is_zero(expression) or sympy.simplify(expression) == 0)


def zero_at_random_points(expression: Expr, points: int = 3) -> bool:
    """Whether |expression| < 10^-20 at random rational points, evaluated to 50 digits."""
    draw = random.Random(2401)  # fixed: a proof that depends on the clock is none
    symbols = sorted(expression.free_symbols, key=str)
    value = sympy.lambdify(symbols, expression, "mpmath", cse=True)
    with mp.workdps(50):
        at = [[mp.mpf(draw.randint(64, 192)) / 128 for _ in symbols] for _ in range(points)]
        return all(abs(value(*point)) < mp.mpf("1e-20") for point in at)


def _numerator_is_zero(expression: Expr) -> bool:
    expression, relations = _without_roots(expression)
    expression, whole = _without_real_powers(expression)
    expression = _without_functions(expression)
    relations = [(last, square.xreplace(whole)) for last, square in relations]
    symbols = sorted(expression.free_symbols.union(*[s.free_symbols for _, s in relations]), key=sympy.default_sort_key)
    if not symbols:
        return bool(sympy.expand(expression) == 0)
    ring = PolyRing(symbols, sympy.QQ)
    try:
        numerator, _ = _ratio(expression, ring)
        for last, square in relations:
            numerator = _replace_square(numerator, ring, last, _ratio(square, ring)[0])
    except ValueError:  # something that is not a ratio of polynomials: left to simplify
        return False
    return not numerator


def _ratio(expression: Expr, ring: PolyRing) -> tuple[PolyElement, PolyElement]:
    """Return numerator and denominator; common factors of denominators only are removed."""
    if expression.is_Rational:
        return ring(sympy.QQ(int(expression.p), int(expression.q))), ring.one
    if expression.is_Symbol:
        return ring(expression), ring.one
    if expression.is_Pow and expression.exp.is_Integer:
        top, bottom = _ratio(expression.base, ring)
        power = int(abs(expression.exp))
        return (top**power, bottom**power) if expression.exp > 0 else (bottom**power, top**power)
    if expression.is_Mul:
        return functools.reduce(_times, (_ratio(part, ring) for part in expression.args))
    if expression.is_Add:
        return functools.reduce(_plus, (_ratio(part, ring) for part in expression.args))
    raise ValueError(expression)


def _times(x: tuple[PolyElement, PolyElement], y: tuple[PolyElement, PolyElement]) -> tuple[PolyElement, PolyElement]:
    return x[0] * y[0], x[1] * y[1]


def _plus(x: tuple[PolyElement, PolyElement], y: tuple[PolyElement, PolyElement]) -> tuple[PolyElement, PolyElement]:
    if x[1] == y[1]:
        return x[0] + y[0], x[1]
    _, left, right = x[1].cofactors(y[1])
    return x[0] * right + y[0] * left, x[1] * right


def _replace_square(numerator: PolyElement, ring: PolyRing, last: Symbol, square: PolyElement) -> PolyElement:
    """Lower the degree in `last` to at most one with last^2 = square."""
    position = ring.symbols.index(last)
    by_power: dict[int, PolyElement] = {}
    for monomial, coefficient in numerator.terms():
        halves, rest = divmod(monomial[position], 2)
        lowered = (*monomial[:position], rest, *monomial[position + 1 :])
        by_power[halves] = by_power.get(halves, ring.zero) + ring({lowered: coefficient})
    return sum((part * square**halves for halves, part in by_power.items()), ring.zero)


def _without_roots(expression: Expr) -> tuple[Expr, list[Relation]]:
    """Name the root t of every sum of squares; return the expression in t and what v^2 is for the last symbol v."""
    roots = {power.base for power in expression.atoms(sympy.Pow) if power.base.is_Add and not power.exp.is_integer}
    relations: list[Relation] = []
    for number, base in enumerate(sorted(roots, key=lambda root: (len(root.args), sympy.default_sort_key(root)))):
        lowered = base
        for earlier, square in relations:
            lowered = sympy.expand(lowered.subs(earlier**2, square))
        last = max(lowered.free_symbols, key=str)
        if not lowered.is_polynomial(last) or sympy.Poly(lowered, last).all_coeffs()[:-1] != [1, 0]:
            continue
        t = sympy.Symbol(f"t_{number}", positive=True)
        expression = expression.replace(_power_of(base), lambda e, t=t: t ** (2 * e.exp))
        relations.append((last, t**2 - lowered + last**2))
    return expression, relations


def _power_of(base: Expr) -> Callable[[Expr], bool]:
    return lambda e: bool(e.is_Pow and e.base == base)


def _without_real_powers(expression: Expr) -> tuple[Expr, dict[Symbol, Expr]]:
    """Write x^(2D-3) as G^2 x^-3 with a generator G for x^D, and x^(5/2) as G^5 with a generator G for x^(1/2).

    Also return what became of the bases x themselves.
    """
    powers = [p for p in expression.atoms(sympy.Pow) if p.base.is_Symbol and not p.exp.is_Integer]
    scale: dict[tuple[Symbol, Expr], int] = {}
    for power in powers:
        for part, times in sympy.expand(power.exp).as_coefficients_dict().items():
            scale[power.base, part] = math.lcm(scale.get((power.base, part), 1), int(times.q))
    bases = {base for base, _ in scale}
    whole = {base: _generators(base, sympy.S.One, scale) for base in bases}
    expression = expression.replace(lambda e: e.is_Pow and e.base in bases, lambda e: _generators(e.base, e.exp, scale))
    return expression.xreplace(whole), whole


def _generators(base: Symbol, exponent: Expr, scale: dict[tuple[Symbol, Expr], int]) -> Expr:
    parts = sympy.expand(exponent).as_coefficients_dict().items()
    return sympy.Mul(*[_generator(base, part, scale) ** (times * scale.get((base, part), 1)) for part, times in parts])


def _generator(base: Symbol, part: Expr, scale: dict[tuple[Symbol, Expr], int]) -> Symbol:
    return Symbol(f"{base}^({part}/{scale.get((base, part), 1)})", positive=True)


def _without_functions(expression: Expr) -> Expr:
    heads = sorted(expression.atoms(sympy.Function), key=sympy.default_sort_key)
    return expression.xreplace({head: Symbol(f"f_{number}") for number, head in enumerate(heads)})
