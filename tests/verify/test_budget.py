"""The budget, the sequential test and the orders keep what they promise."""

import numpy as np
import pytest
from scipy.stats import binom, norm, ttest_1samp

from numerics.start import generator
from verify.budget import Budget, of_means, replicas_for, sequential, two_sided
from verify.orders import order


def test_levels_add_up_to_the_family_wise_probability() -> None:
    budget = Budget(200)
    assert budget.level * 200 == pytest.approx(1e-3)
    assert 2 * norm.sf(Budget(200).critical(1)) == pytest.approx(budget.level)


def test_few_replicas_widen_the_interval() -> None:
    assert Budget(100).critical(8) > Budget(100).critical(64) > Budget(100).critical(1)


def test_sequential_test_keeps_its_level_where_the_hypothesis_holds() -> None:
    """20 000 tests at level 0.01 under the hypothesis: failures within the binomial's 1e-6 quantile."""
    draw = generator(1, "p-values")
    failed = sum(not sequential(lambda *_: draw.uniform(), level=0.01, size=1).passed for _ in range(20_000))
    assert failed <= binom.isf(1e-6, 20_000, 0.01)


def test_sequential_test_is_cheap_for_clear_cases_and_finds_a_wrong_mean() -> None:
    draw = generator(2, "sequential")
    sizes: list[int] = []

    def p_value(stage: int, size: int, shift: float) -> float:
        sizes.append(size)
        x = draw.standard_normal(size) + shift
        return two_sided([x.mean() / (x.std(ddof=1) / np.sqrt(size))], size)

    right = [sequential(lambda i, n: p_value(i, n, 0.0), level=1e-5, size=200).passed for _ in range(200)]
    assert all(right)
    assert np.mean(sizes) < 400
    wrong = [sequential(lambda i, n: p_value(i, n, 0.4), level=1e-5, size=200).passed for _ in range(50)]
    assert not any(wrong)


def test_what_is_no_number_agrees_with_nothing() -> None:
    """A diverged replica, or a simulator that returns NaN, must not pass for want of a comparison that is true."""
    assert not sequential(lambda *_: float("nan"), level=1e-5, size=10).passed
    assert two_sided([0.1, float("nan"), 0.2], 100) == 0.0
    values = generator(3, "means").standard_normal((4, 300))
    assert of_means(values, 0.0) > 1e-3
    values[2, 17] = np.nan
    assert of_means(values, 0.0) == 0.0


def test_the_p_value_of_means_is_that_of_students_test() -> None:
    values = generator(4, "means").standard_normal(200) + 0.2
    assert of_means(values, 0.0) == pytest.approx(ttest_1samp(values, 0.0).pvalue, rel=1e-9)
    assert of_means(np.vstack([values, values]), 0.0) == pytest.approx(2 * of_means(values, 0.0), rel=1e-9)


def test_values_without_scatter_agree_to_rounding() -> None:
    assert of_means(np.full((2, 50), 1 + 1e-13), 1.0, rounding=1e-12) > 0.5
    assert of_means(np.full((2, 50), 1 + 1e-10), 1.0, rounding=1e-12) < 1e-9
    assert of_means(np.full((2, 50), 1.0), 1.0) == 1.0


def test_replicas_are_planned_so_that_the_interval_is_half_the_resolution() -> None:
    budget = Budget(100)
    replicas = replicas_for(0.1, 1.0, budget, least=32, most=10**9)
    assert budget.critical(32) / np.sqrt(replicas) == pytest.approx(0.1 / 2 / 1.5, rel=0.01)
    assert replicas_for(0.1, 1e-9, budget, least=32, most=100) == 32
    assert replicas_for(0.1, 1e9, budget, least=32, most=100) == 100


def test_a_pilot_that_diverged_plans_the_most() -> None:
    for resolution, deviation in ((np.nan, 1.0), (0.1, np.nan), (0.1, np.inf)):
        assert replicas_for(resolution, deviation, Budget(100), least=32, most=640) == 640


def test_order_of_a_power_law_and_where_it_passes_a_level() -> None:
    x = np.array([0.01, 0.02, 0.04])
    measured = order("square", x, 3 * x**2, 0.001 * x**2, 2.0)
    assert measured.slope == pytest.approx(2.0, abs=1e-9)
    low, high = measured.interval(1e-3)
    assert low < 2.0 < high
    assert measured.passes(0.03) == pytest.approx(0.1, rel=1e-6)
    assert measured.last_error == pytest.approx(3e-4)
