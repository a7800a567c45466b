"""Roots, minima and splines against scipy's."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq

from numerics.scalar_search import least, root, spline


@pytest.mark.parametrize("rule", [{"xtol": 2e-12, "rtol": 1e-12}, {"xtol": 1e-15, "rtol": 1e-12}])
def test_a_root_has_the_bits_of_scipys_brentq(rule):
    draw, compared = np.random.default_rng(0), 0
    for _ in range(400):
        a, b, c, d = draw.standard_normal(4)
        low, high = np.sort(draw.uniform(-3, 3, 2))

        def f(x, a=a, b=b, c=c, d=d):
            return float(a + b * x + c * x**3 + np.exp(d * x) - 1)

        if f(low) * f(high) < 0:
            assert root(f, low, high, **rule) == brentq(f, low, high, **rule)
            compared += 1
    assert compared > 50


def test_a_root_at_an_end_is_found_and_no_change_of_sign_is_refused():
    assert root(lambda x: x, 0.0, 1.0) == 0.0
    assert root(lambda x: x - 1, 0.0, 1.0) == 1.0
    with pytest.raises(ValueError, match="same sign"):
        root(lambda x: x + 1, 0.0, 1.0)


def test_golden_section_closes_in_at_its_rate():
    for evaluations in (6, 12, 24):
        at, value = least(lambda x: (x - 0.3) ** 2, 0.0, 1.0, evaluations=evaluations)
        assert abs(at - 0.3) <= 0.6181 ** (evaluations - 2)
        assert value == (at - 0.3) ** 2


@pytest.mark.parametrize("count", [2, 3, 4, 5, 24])
def test_a_spline_is_scipys_not_a_knot_spline(count):
    draw = np.random.default_rng(count)
    x, y = np.sort(draw.random(count)), draw.standard_normal(count)
    at = np.linspace(x[0], x[-1], 200)
    told = CubicSpline(x, y)(at)
    np.testing.assert_allclose(spline(x, y, at), told, rtol=0, atol=1e-10 * np.abs(told).max())
