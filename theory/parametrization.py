"""A parametrization w = F(u) is one sympy expression; everything else is derived from it."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import sympy
from sympy import Expr, Symbol

from theory import notation

Depth: TypeAlias = int | float | str | Fraction | Expr

NAMES = ("radial", "coordinatewise", "diagonal-difference", "diagonal-product", "sinh", "tanh")
#: names whose depth plays no part
WITHOUT_DEPTH = ("diagonal-product", "sinh", "tanh")


@dataclass(frozen=True)
class Radial:
    """F(u) = g(|u|) u with g > 0 an expression in `notation.r`."""

    name: str
    g: Expr

    def __post_init__(self) -> None:
        object.__setattr__(self, "g", sympy.sympify(_expression("g", self.g)))
        _only("g", self.g, forbidden=(notation.u, notation.a, notation.b, notation.q, notation.rho))
        if self.g.is_nonpositive:
            raise ValueError(f"g = {self.g} is not positive; give a positive function of notation.r")


@dataclass(frozen=True)
class Coordinatewise:
    """F(u)_j = f(u_j) with f an expression in the real symbol `notation.u`; p = d."""

    name: str
    f: Expr

    def __post_init__(self) -> None:
        object.__setattr__(self, "f", sympy.sympify(_expression("f", self.f)))
        _only("f", self.f, forbidden=(notation.r, notation.a, notation.b, notation.q, notation.rho))
        _varies("f", self.f, self.factors)

    @property
    def factors(self) -> tuple[Symbol, ...]:
        """The symbols F depends on, one per block of u."""
        return (notation.u,)

    @property
    def expression(self) -> Expr:
        """w_j as an expression in `factors`."""
        return self.f


@dataclass(frozen=True)
class DiagonalNetwork:
    """w_j = F(a_j, b_j) with F an expression in `notation.a`, `notation.b`; u = concat(a, b), p = 2d."""

    name: str
    F: Expr

    def __post_init__(self) -> None:
        object.__setattr__(self, "F", sympy.sympify(_expression("F", self.F)))
        _only("F", self.F, forbidden=(notation.r, notation.u, notation.q, notation.rho))
        _varies("F", self.F, self.factors)

    @property
    def factors(self) -> tuple[Symbol, ...]:
        """The symbols F depends on, one per block of u."""
        return (notation.a, notation.b)

    @property
    def expression(self) -> Expr:
        """w_j as an expression in `factors`."""
        return self.F


Separable = Coordinatewise | DiagonalNetwork
Parametrization = Radial | Coordinatewise | DiagonalNetwork


def named(name: str, depth: Depth) -> Parametrization:
    """Return the parametrization called `name` in `NAMES` at `depth` (a real number >= 1, or a symbol).

    The names without a depth (diagonal-product, sinh, tanh) check `depth` and do not use it. Raises ValueError.
    """
    if name not in NAMES:
        raise ValueError(f"parametrization = {name!r} is unknown; choose one of {', '.join(NAMES)}")
    D = exact_depth(depth)
    u, a, b = notation.u, notation.a, notation.b
    match name:
        case "radial":
            return Radial(name, notation.r ** (D - 1))
        case "coordinatewise":
            return Coordinatewise(name, signed_power(u, D))
        case "diagonal-difference":
            return DiagonalNetwork(name, _plain_power(a, D) - _plain_power(b, D))
        case "diagonal-product":
            return DiagonalNetwork(name, a * b)
        case "sinh":
            return Coordinatewise(name, sympy.sinh(u))
        case _:
            return Coordinatewise(name, sympy.tanh(u))


def exact_depth(depth: Depth) -> Expr:
    """Return `depth` exactly: symbols as they are, 2.5 as 5/2. Raises ValueError for anything not real and >= 1."""
    if isinstance(depth, Expr) and not depth.is_number:
        return depth
    try:
        value = float(depth)  # bounds the size of what Fraction has to hold
        if isinstance(depth, bool) or not math.isfinite(value) or value < 1:
            raise ValueError
        exact = Fraction(depth.strip() if isinstance(depth, str) else str(depth))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"depth = {depth} is not a real number of at least 1; give one such as 1, 2.5 or 3") from None
    return sympy.Rational(exact.numerator, exact.denominator)


def signed_power(x: Symbol, D: Expr) -> Expr:
    """Return sign(x) |x|^D, as a polynomial where it is one."""
    return x**D if D.is_odd else x * sympy.Abs(x) ** (D - 1)


def _plain_power(x: Symbol, D: Expr) -> Expr:
    """x^D; for a real exponent that is not an integer the odd extension, which alone is real for x < 0."""
    return signed_power(x, D) if D.is_integer is False else x**D


def _expression(name: str, value: object) -> object:
    """Refuse text: it would have to be evaluated."""
    if isinstance(value, str):
        raise ValueError(f"{name} = {value!r} is text; give a sympy expression in the symbols of theory.notation")
    return value


def _only(name: str, value: Expr, forbidden: tuple[Symbol, ...]) -> None:
    wrong = sorted(str(symbol) for symbol in value.free_symbols & set(forbidden))
    if wrong:
        raise ValueError(f"{name} = {value} depends on {', '.join(wrong)}; use the variables of its own class only")


def _varies(name: str, value: Expr, factors: tuple[Symbol, ...]) -> None:
    missing = [str(symbol) for symbol in factors if symbol not in value.free_symbols]
    if missing:
        raise ValueError(f"{name} = {value} does not depend on {', '.join(missing)}; use notation.{missing[0]} in it")
