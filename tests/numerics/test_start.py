"""Starting points: on the manifold where they claim to be, inverses that invert, and every refusal."""

import numpy as np
import pytest

from numerics import start
from numerics.errors import InputError
from numerics.problem import Problem

EPS = np.finfo(float).eps


@pytest.fixture(name="problem")
def _problem():
    X = np.random.default_rng(0).standard_normal((4, 9))
    return Problem(X, X @ np.arange(9.0))


def odd_power(depth):
    return lambda u: np.sign(u) * np.abs(u) ** depth, lambda u: depth * np.abs(u) ** (depth - 1)


def test_a_null_direction_is_a_unit_vector_that_no_row_sees(problem):
    direction = start.null_direction(problem, 3)
    assert np.linalg.norm(direction) == pytest.approx(1, abs=4 * EPS)
    assert np.abs(problem.row_basis @ direction).max() < 4 * EPS


def test_the_seed_decides_the_null_direction(problem):
    assert np.array_equal(start.null_direction(problem, 3), start.null_direction(problem, 3))
    assert not np.allclose(start.null_direction(problem, 3), start.null_direction(problem, 4))


def test_null_directions_are_isotropic_in_the_null_space(problem):
    # In 5 dimensions E (v.z)^2 = 1/5 with deviation 0.22 per direction; a false alarm at 5 sem is rarer than 1e-6.
    directions = np.array([start.null_direction(problem, seed) for seed in range(400)])
    squares = (directions @ directions[0])[1:] ** 2
    assert abs(squares.mean() - 1 / 5) < 5 * 0.23 / np.sqrt(399)


def test_a_given_start_lends_its_null_part(problem):
    direction = start.null_direction(problem, 0)
    for row_part in (0.0, 5.0, 1e6):
        u0 = row_part * problem.X[0] + 0.3 * direction
        np.testing.assert_allclose(start.null_direction(problem, 0, u0), direction, atol=1e-8)
        assert np.abs(problem.row_basis @ start.null_direction(problem, 0, u0)).max() < 4 * EPS


def test_a_start_on_the_manifold_interpolates_at_the_asked_distance(problem):
    w = start.on_manifold(problem, 2.5, start.null_direction(problem, 1))
    assert problem.train_loss(w) < 1e-24
    assert np.linalg.norm(problem.null_part(w)) == pytest.approx(2.5, rel=1e-12)
    assert np.linalg.norm(w - problem.w_mn) == pytest.approx(2.5, rel=1e-12)


def test_a_random_start_has_the_asked_norm_and_leaves_the_manifold(problem):
    u0 = start.random_start(problem, 0.7, 5)
    assert u0.shape == (problem.d,)
    assert np.linalg.norm(u0) == pytest.approx(0.7, rel=1e-14)
    assert problem.train_loss(u0) > 1e-3
    assert start.random_start(problem, 0.7, 5, size=18).shape == (18,)


@pytest.mark.parametrize("depth", [1, 2, 2.5, 5])
def test_radial_parameters_give_back_the_predictor(depth):
    w = np.random.default_rng(1).standard_normal((3, 6))
    u = start.radial_from_predictor(w, np.linalg.norm(w, axis=-1) ** (1 / depth))
    np.testing.assert_allclose(np.linalg.norm(u, axis=-1, keepdims=True) ** (depth - 1) * u, w, rtol=1e-13)


SEPARABLE = {
    "identity": (lambda u: u, np.ones_like),
    "square": odd_power(2),
    "cube": odd_power(3),
    "real power": odd_power(2.5),
    "fifth": odd_power(5),
    "sinh": (np.sinh, np.cosh),
    "u + u^3": (lambda u: u + u**3, lambda u: 1 + 3 * u**2),
}


@pytest.mark.parametrize("name", SEPARABLE)
def test_numeric_inversion_is_exact_to_rounding(name):
    value, slope = SEPARABLE[name]
    u = np.concatenate([[0.0, 1.0, -1.0, 1e-12, -1e-12], np.random.default_rng(2).standard_normal(50) * 10])
    w = value(u)
    np.testing.assert_allclose(start.separable_from_predictor(value, slope, w), u, rtol=8 * EPS, atol=0)


def test_numeric_inversion_does_not_creep_down_a_steep_side():
    calls = []

    def value(u):
        calls.append(u)
        return np.sinh(u)

    # Newton's method alone overshoots to 346 and comes down to the root 260 in steps of 1.
    u = start.separable_from_predictor(value, np.cosh, np.sinh([260.0]))
    assert u[0] == pytest.approx(260, rel=1e-15)
    assert len(calls) < 40


def test_numeric_inversion_takes_overflow_for_a_bound():
    u = start.separable_from_predictor(np.sinh, np.cosh, np.array([1e300]))
    assert u[0] == pytest.approx(np.arcsinh(1e300), rel=1e-15)


def test_numeric_inversion_needs_no_slope_worth_following():
    # A zero slope everywhere leaves bisection alone, which has to arrive at the same root.
    value, _ = SEPARABLE["u + u^3"]
    w = np.linspace(-9, 9, 7)
    u = start.separable_from_predictor(value, np.zeros_like, w)
    np.testing.assert_allclose(value(u), w, rtol=20 * EPS)


def test_numeric_inversion_of_a_bounded_function_refuses_what_it_cannot_reach():
    inside = np.array([0.0, 0.5, -0.999])
    u = start.separable_from_predictor(np.tanh, lambda v: 1 - np.tanh(v) ** 2, inside)
    np.testing.assert_allclose(np.tanh(u), inside, rtol=1e-13)
    for outside in (1.5, -1.5):
        with pytest.raises(InputError, match=rf"^w = {outside} lies outside the range of the parametrization; choose"):
            start.separable_from_predictor(np.tanh, lambda v: 1 - np.tanh(v) ** 2, np.array([0.0, outside]))


@pytest.mark.parametrize("offset", [0.0, 0.3])
@pytest.mark.parametrize("depth", [1, 2, 2.5, 4])
def test_diagonal_power_parameters_give_back_the_predictor(depth, offset):
    w = np.array([[0.0, 2.0, -3.0], [1e-3, -1e-3, 7.0]])
    a, b = np.split(start.diagonal_power_from_predictor(w, depth, offset=offset), 2, axis=-1)
    np.testing.assert_allclose(a**depth - b**depth, w, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(np.minimum(a, b), offset, rtol=1e-12)


def test_diagonal_product_parameters_are_balanced_and_shortest():
    w = np.array([0.0, 4.0, -9.0])
    u = start.diagonal_product_from_predictor(w)
    a, b = np.split(u, 2)
    np.testing.assert_allclose(a * b, w, rtol=1e-14)
    assert np.array_equal(np.abs(a), np.abs(b))
    assert u @ u == pytest.approx(2 * np.abs(w).sum())
    stretched = np.concatenate([1.1 * a, b / 1.1])
    assert stretched @ stretched > u @ u


def test_streams_differ_by_seed_and_by_purpose():
    draws = {(s, p): start.generator(s, p).standard_normal() for s in (0, 1, 2**64 - 1) for p in ("rows", "teacher")}
    assert len(set(draws.values())) == 6
    assert draws[0, "rows"] == start.generator(0, "rows").standard_normal()


REFUSED = [
    (
        lambda p: start.null_direction(p, -1),
        "seed = -1 is not a whole number in [0, 2^64); give a non-negative integer",
    ),
    (lambda p: start.null_direction(p, 1.5), "seed = 1.5 is not a whole number in [0, 2^64)"),
    (lambda p: start.null_direction(p, True), "seed = True is not a whole number in [0, 2^64)"),
    (lambda p: start.null_direction(p, 2**64), f"seed = {2**64} is not a whole number in [0, 2^64)"),
    (
        lambda p: start.null_direction(p, 0, np.ones(4)),
        "shape of u0 = (4,) is not (9,); give one entry per column of X",
    ),
    (lambda p: start.null_direction(p, 0, p.X[0]), "is zero to rounding; give a u0 outside the span of the rows of X"),
    (lambda p: start.null_direction(p, 0, np.zeros(9)), "null part of u0 = 0 is zero to rounding"),
    (lambda p: start.on_manifold(p, -1.0, p.X[0]), "rho0 = -1 is not a distance; give a finite number, 0 or more"),
    (lambda p: start.on_manifold(p, np.nan, p.X[0]), "rho0 = nan is not a distance"),
    (lambda p: start.random_start(p, 0.0, 1), "scale = 0 is not a positive norm; give a finite number above 0"),
    (lambda p: start.random_start(p, np.inf, 1), "scale = inf is not a positive norm"),
    (
        lambda p: start.radial_from_predictor(np.zeros(3), 1.0),
        "|w| = 0 leaves the direction of u open; start at a positive",
    ),
    (lambda p: start.diagonal_power_from_predictor(p.y, 0.5), "depth = 0.5 is below 1; give a depth of at least 1"),
    (
        lambda p: start.diagonal_power_from_predictor(p.y, 2, offset=-1.0),
        "offset = -1 is not a non-negative number; give 0",
    ),
]


@pytest.mark.parametrize(("act", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_an_impossible_start_is_refused_in_one_line(problem, act, message):
    with pytest.raises(InputError) as refusal:
        act(problem)
    assert message in str(refusal.value)
