"""What agreement means: every verdict, both sides, and the statistics behind it."""

import numpy as np
import pytest
from scipy import stats

from numerics.check import Check, Margin, critical_value, mean_and_sem, table


def check(observed, sem=0.01, resolution=0.1, side="both", **conditions):
    return Check("C4", "rho", 1.0, observed, sem, Margin(resolution=resolution), 3.0, conditions, side)


@pytest.mark.parametrize(
    ("observed", "sem", "side", "verdict"),
    [
        (1.05, 0.01, "both", "pass"),  # 1.05 +- 0.03 inside 1 +- 0.1
        (1.20, 0.01, "both", "fail"),  # 1.20 +- 0.03 outside
        (1.08, 0.01, "both", "outside conditions"),  # straddles the edge
        (1.00, 0.05, "both", "outside conditions"),  # reaches further than the margin
        (0.20, 0.01, "upper", "pass"),
        (1.20, 0.01, "upper", "fail"),
        (1.20, 0.01, "lower", "pass"),
        (0.20, 0.01, "lower", "fail"),
        (1.08, 0.01, "upper", "outside conditions"),
        (1.00, float("nan"), "both", "outside conditions"),
        (float("nan"), 0.01, "both", "outside conditions"),
    ],
)
def test_the_verdict_is_where_the_interval_lies(observed, sem, side, verdict):
    assert check(observed, sem, side=side).verdict == verdict


def test_a_broken_condition_is_neither_pass_nor_fail():
    for observed in (1.0, 2.0):
        found = check(observed, **{"sigma > 0": False})
        assert found.verdict == "outside conditions"
        assert found.broken[0] == "sigma > 0"


def test_a_small_sample_says_that_it_is_too_small():
    assert check(1.0, sem=0.05).broken == ("sample too small for the margin",)


def test_an_unknown_margin_passes_nothing():
    """A comparison with NaN is false, so that no interval would lie beyond its edge."""
    for side in ("both", "upper", "lower"):
        found = check(5.0, resolution=float("nan"), side=side)
        assert found.verdict == "outside conditions"
        assert found.broken == ("margin unknown, as a pilot diverged",)


def test_the_record_splits_the_margin_into_its_parts():
    record = Check("C2", "floor", 2.0, 2.1, 0.02, Margin(0.001, 0.05, 0.2), 4.0).record()
    assert record["margin"] == {"rounding": 0.001, "sampling": 0.08, "model": 0.05, "resolution": 0.2}
    assert record["z"] == pytest.approx(5.0)
    assert "floor" in table([Check("C2", "floor", 2.0, 2.1, 0.02, Margin(), 4.0)])


@pytest.mark.parametrize(("comparisons", "replicas"), [(1, 2), (7, 48), (170, 5)])
def test_the_critical_value_is_bonferronis_student_quantile(comparisons, replicas):
    expected = stats.t.isf(1e-3 / (2 * comparisons), replicas - 1)
    assert critical_value(comparisons, replicas) == pytest.approx(expected, rel=1e-12)


def test_means_leave_diverged_replicas_out():
    values = np.array([[1.0, 2.0, np.nan, 3.0], [np.nan] * 4, [5.0, np.nan, np.nan, np.nan]])
    mean, sem = mean_and_sem(values)
    np.testing.assert_allclose(mean, [2.0, np.nan, 5.0])
    np.testing.assert_allclose(sem, [1 / np.sqrt(3), np.nan, np.nan])
