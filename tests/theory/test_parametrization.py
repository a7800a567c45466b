"""Parametrizations: exact depths, odd powers, and one clear line for what is refused."""

import pytest
import sympy
from sympy import Rational

from theory import notation
from theory.parametrization import NAMES, Coordinatewise, DiagonalNetwork, Radial, named


@pytest.mark.parametrize("depth", [2.5, "2.5", Rational(5, 2), " 2.50 "])
def test_depths_become_exact(depth):
    assert named("radial", depth).g == notation.r ** Rational(3, 2)


def test_a_symbolic_depth_stays_symbolic():
    assert named("radial", notation.D).g == notation.r ** (notation.D - 1)


@pytest.mark.parametrize(
    "depth", [0, 0.99, -1, "two", "", "nan", "inf", float("inf"), None, True, "1e999999999", sympy.I]
)
def test_a_depth_that_is_not_a_real_number_of_at_least_one_is_refused(depth):
    with pytest.raises(ValueError, match=r"depth = .* is not a real number of at least 1; give one such as"):
        named("radial", depth)


def test_a_depth_in_text_is_never_evaluated():
    with pytest.raises(ValueError, match="is not a real number"):
        named("radial", "__import__('os').getpid()")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="parametrization = 'radiall' is unknown; choose one of radial, coord"):
        named("radiall", 2)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_built(name):
    assert named(name, 2).name == name


def test_integer_and_real_depths_of_the_diagonal_difference():
    a, b = notation.a, notation.b
    assert a**2 - b**2 == named("diagonal-difference", 2).F
    at_minus_two = named("diagonal-difference", 2.5).F.subs({a: -2, b: 0})
    assert sympy.simplify(at_minus_two + 2 ** Rational(5, 2)) == 0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Radial("bad", "r**2"), "g = 'r\\*\\*2' is text; give a sympy expression"),
        (lambda: Radial("bad", notation.u), "g = u depends on u; use the variables of its own class only"),
        (lambda: Radial("bad", sympy.Integer(-1)), "g = -1 is not positive; give a positive function"),
        (lambda: Coordinatewise("bad", sympy.Integer(3)), "f = 3 does not depend on u; use notation.u in it"),
        (lambda: DiagonalNetwork("bad", notation.a), "F = a does not depend on b; use notation.b in it"),
    ],
)
def test_what_is_not_a_parametrization_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_an_equal_symbol_of_another_kind_is_not_the_variable():
    with pytest.raises(ValueError, match="does not depend on u"):
        Coordinatewise("bad", sympy.Symbol("v", real=True) ** 3)
