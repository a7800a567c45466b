"""Problem and Reduced against dense linear algebra, and every way a problem can be refused."""

import pickle
import tracemalloc

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from numerics.errors import InputError
from numerics.problem import Problem

# Rounding allowed to a handful of (n, d) products of numbers of order 1 at condition numbers below 100.
ROUNDING = 1e-12


def gaussian(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


def teacher_problem(n=5, d=12):
    X, w_star = gaussian(n, d), gaussian(1, d, 1)[0]
    return Problem(X, X @ w_star, w_star=w_star)


def held_out_problem(n=5, d=12, m=30):
    X = gaussian(n, d)
    return Problem(X, gaussian(1, n, 2)[0], X_test=gaussian(m, d, 3), y_test=gaussian(1, m, 4)[0])


def unit_null_vector(problem):
    part = problem.null_part(gaussian(1, problem.d, 5)[0])
    return part / np.linalg.norm(part)


PROBLEMS = {
    "teacher": teacher_problem(),
    "many held-out rows": held_out_problem(m=30),
    "few held-out rows": held_out_problem(m=3),
    "one row": held_out_problem(n=1, d=2),
}
each_problem = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)


@each_problem
def test_rows_factor_into_a_triangle_and_an_orthonormal_basis(problem):
    n = problem.n
    np.testing.assert_allclose(problem.row_basis @ problem.row_basis.T, np.eye(n), atol=ROUNDING)
    np.testing.assert_allclose(problem.factor @ problem.row_basis, problem.X, atol=ROUNDING)
    np.testing.assert_allclose(problem.gram, problem.X @ problem.X.T, rtol=ROUNDING, atol=ROUNDING)
    assert np.all(np.triu(problem.factor, 1) == 0)
    assert np.all(np.diag(problem.factor) > 0)
    assert np.all(problem.gram == problem.gram.T)


def test_the_row_basis_is_orthonormal_at_a_condition_number_near_the_limit():
    X = gaussian(6, 20_000)
    X[5] = X[0] + 1e-7 * X[5]
    problem = Problem(X, np.ones(6))
    assert problem.condition_number > 1e13
    np.testing.assert_allclose(problem.row_basis @ problem.row_basis.T, np.eye(6), atol=1e-14)
    np.testing.assert_allclose(problem.factor @ problem.row_basis, X, atol=1e-13)


def test_bits_do_not_depend_on_the_number_of_blas_threads():
    X = gaussian(40, 9000)
    bits = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads, user_api="blas"):
            problem = Problem(X, X[:, 0])
            bits.append(problem.row_basis.tobytes() + problem.factor.tobytes())
    assert bits[0] == bits[1]


@each_problem
def test_minimum_norm_solution_is_the_pseudoinverse_one(problem):
    expected = np.linalg.pinv(problem.X) @ problem.y
    np.testing.assert_allclose(problem.w_mn, expected, atol=ROUNDING)
    assert problem.norm_w_mn == pytest.approx(np.linalg.norm(expected), rel=ROUNDING)
    assert problem.train_loss(problem.w_mn) < ROUNDING


@each_problem
def test_spectrum_numbers_are_those_of_the_dense_matrix(problem):
    eigenvalues = np.linalg.eigvalsh(problem.X @ problem.X.T)
    assert problem.stable_rank == pytest.approx(eigenvalues.sum() / eigenvalues[-1], rel=1e-10)
    assert problem.condition_number == pytest.approx(eigenvalues[-1] / eigenvalues[0], rel=1e-10)


@each_problem
def test_null_part_is_the_dense_projection(problem):
    w = gaussian(4, problem.d, 6).reshape(2, 2, problem.d)
    projector = np.eye(problem.d) - np.linalg.pinv(problem.X) @ problem.X
    np.testing.assert_allclose(problem.null_part(w), w @ projector.T, atol=ROUNDING)


def test_null_part_stays_exact_beside_a_huge_row_part():
    problem = teacher_problem()
    direction = unit_null_vector(problem)
    part = problem.null_part(1e6 * problem.X[0] + direction)
    assert np.linalg.norm(problem.row_basis @ part) < 4 * np.finfo(float).eps * np.sqrt(problem.d)
    np.testing.assert_allclose(part, direction, atol=1e-9)  # 1e6 x rounding is lost in the sum itself


@each_problem
def test_losses_of_a_batch_are_those_of_each_predictor(problem):
    w = gaussian(3, problem.d, 7)
    train = [0.5 * np.mean((problem.X @ v - problem.y) ** 2) for v in w]
    if problem.w_star is not None:
        test = [0.5 * np.sum((v - problem.w_star) ** 2) for v in w]
    else:
        test = [0.5 * np.mean((problem.X_test @ v - problem.y_test) ** 2) for v in w]
    np.testing.assert_allclose(problem.train_loss(w), train, rtol=ROUNDING)
    np.testing.assert_allclose(problem.test_loss(w), test, rtol=ROUNDING)
    assert problem.train_loss(w[0]).shape == problem.test_loss(w[0]).shape == ()


@each_problem
def test_reduced_losses_equal_the_full_ones_on_the_span(problem):
    reduced = problem.reduced(unit_null_vector(problem))
    c = gaussian(6, problem.n + 1, 8)
    w = reduced.expand(c)
    np.testing.assert_allclose(reduced.coordinates(w), c, atol=ROUNDING)
    np.testing.assert_allclose(np.linalg.norm(c, axis=1), np.linalg.norm(w, axis=1), rtol=ROUNDING)
    np.testing.assert_allclose(reduced.train_loss(c), problem.train_loss(w), rtol=ROUNDING)
    np.testing.assert_allclose(reduced.test_loss(c), problem.test_loss(w), rtol=ROUNDING)
    np.testing.assert_allclose(reduced.expand(reduced.c_mn), problem.w_mn, atol=ROUNDING)
    assert reduced.T.shape[0] <= problem.n + 1 == reduced.T.shape[1]
    assert reduced.constant >= 0


def test_reduced_loss_differs_from_the_full_one_off_the_span():
    problem = held_out_problem()
    reduced = problem.reduced(unit_null_vector(problem))
    w = gaussian(1, problem.d, 9)[0]
    assert abs(reduced.test_loss(reduced.coordinates(w)) - problem.test_loss(w)) > 0.1


def test_a_problem_without_a_test_loss_says_so():
    X = gaussian(3, 7)
    problem = Problem(X, X[:, 0])
    reduced = problem.reduced(unit_null_vector(problem))
    assert (problem.test_kind, problem.norm_w_star, reduced.T, reduced.t) == (None, None, None, None)
    assert np.isnan(problem.test_loss(np.zeros((2, 7)))).all()
    assert np.isnan(reduced.test_loss(np.zeros((2, 4)))).all()


def test_kinds_of_test_loss_are_named():
    assert teacher_problem().test_kind == "teacher"
    assert held_out_problem().test_kind == "held-out"
    assert teacher_problem().norm_w_star == pytest.approx(np.linalg.norm(gaussian(1, 12, 1)))


def test_arrays_are_private_and_read_only():
    X = gaussian(3, 7)
    problem = Problem(X[:, ::1], [1, 2, 3])
    before = problem.X.copy()
    X[:] = 0
    assert np.array_equal(problem.X, before)
    for array in (problem.X, problem.y, problem.gram, problem.w_mn, problem.row_basis, problem.factor):
        assert array.dtype == np.float64
        assert array.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            array[..., 0] = 1


def test_memory_stays_a_few_times_that_of_the_inputs():
    n, d = 20, 100_000
    X = gaussian(n, d)
    tracemalloc.start()
    problem = Problem(X, X[:, 0], w_star=np.ones(d))
    problem.reduced(unit_null_vector(problem))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * X.nbytes  # a (d, d) array would be 5000 times X


X, Y = gaussian(3, 7), np.ones(3)
ROW_TWICE, ROW_ZERO, DEPENDENT = X.copy(), X.copy(), X.copy()
ROW_TWICE[2], ROW_ZERO[1], DEPENDENT[2] = X[0], 0, X[0] + X[1]
WITH_NAN = X.copy()
WITH_NAN[1, 4] = np.nan

REFUSED = [
    (
        X.T,
        np.ones(7),
        {},
        "n = 7 is not below the d = 3 columns: there is no manifold of minima; use fewer rows or more",
    ),
    (X[:, :3], Y, {}, "n = 3 is not below the d = 3 columns"),
    (X[0], Y, {}, r"shape of X = (7,) is not that of a non-empty array with 2 axes; check how it was saved"),
    (X[:0], Y[:0], {}, "shape of X = (0, 7) is not that of a non-empty array with 2 axes"),
    (X, Y[:2], {}, "shape of y = (2,) is not (3,), one label per row of X"),
    (X, X, {}, "shape of y = (3, 7) is not that of a non-empty array with 1 axis"),
    (X, 0 * Y, {}, "y = all zeros makes the minimum-norm solution vanish; give other labels"),
    (WITH_NAN, Y, {}, "X[1, 4] = nan is not a finite number; remove or fill it"),
    (X, [1, np.inf, 1], {}, "y[1] = inf is not a finite number"),
    (X, ["a", "b", "c"], {}, "type of y = <U1 is not a real number type; give real numbers in rows of equal length"),
    (X + 1j, Y, {}, "type of X = complex128 is not a real number type"),
    ([[1.0, 2.0], [3.0]], Y, {}, "X = ragged list is not an array; give real numbers in rows of equal length"),
    (X, None, {}, "type of y = object is not a real number type"),
    (
        ROW_TWICE,
        Y,
        {},
        "rank of X = 2 is below its 3 rows (singular values under 1.5e-08 of the largest count as zero); "
        "drop row 2, which repeats row 0",
    ),
    (ROW_ZERO, Y, {}, "drop row 1, which is zero"),
    (
        DEPENDENT,
        Y,
        {},
        "rank of X = 2 is below its 3 rows (singular values under 1.5e-08 of the largest count as zero); "
        "use fewer rows or more --features",
    ),
    (0 * X, Y, {}, "rank of X = 0 is below its 3 rows"),
    (X, Y, {"w_star": np.ones(6)}, "shape of w_star = (6,) is not (7,), one weight per column of X"),
    (X, Y, {"X_test": X}, "y_test = None is missing beside its other half; give X_test and y_test together"),
    (X, Y, {"y_test": Y}, "X_test = None is missing beside its other half; give X_test and y_test together"),
    (X, Y, {"X_test": X[:, :6], "y_test": Y}, "shape of X_test = (3, 6) is not (3, 7), the columns of X"),
    (X, Y, {"X_test": X, "y_test": Y[:2]}, "shape of y_test = (2,) is not (3,), one label per row of X_test"),
    (
        X,
        Y,
        {"X_test": X, "y_test": Y, "w_star": X[0]},
        "test loss = both w_star and X_test is ambiguous; give a teacher",
    ),
    (X, Y, {"u0": [np.nan]}, "u0[0] = nan is not a finite number"),
]


@pytest.mark.parametrize(("inputs", "labels", "rest", "message"), REFUSED, ids=[case[-1][:40] for case in REFUSED])
def test_an_invalid_problem_is_refused_in_one_line(inputs, labels, rest, message):
    with pytest.raises(InputError) as refusal:
        Problem(inputs, labels, **rest)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_scaled_problem_keeps_its_rank():
    for scale in (1e-150, 1e150):
        assert Problem(scale * X, Y).n == 3


def test_a_direction_that_is_not_a_unit_null_vector_is_refused():
    problem = teacher_problem()
    direction = unit_null_vector(problem)
    row = problem.X[0] / np.linalg.norm(problem.X[0])
    for wrong, message in [
        (direction[1:], "shape of direction = (11,) is not (12,), one entry per column of X"),
        (2 * direction, "|direction| = 2 is not 1; divide by its norm"),
        (row, "row part of direction = 1 is not zero; take null_part of it and normalise"),
    ]:
        with pytest.raises(InputError) as refusal:
            problem.reduced(wrong)
        assert message in str(refusal.value)


def test_an_input_error_survives_the_way_between_processes():
    error = InputError("eta", 0.912345678, "exceeds\nthe limit", "lower eta")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "eta = 0.912346 exceeds the limit; lower eta"
