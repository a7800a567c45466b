"""Late-decay numbers on tables whose answers are known."""

import numpy as np
import pytest

from numerics.errors import InputError
from numerics.networks.benefit import benefit, paired_change, saturation


def test_a_table_that_falls_in_every_seed():
    steps = np.array([10, 100, 1000])
    final = np.array([[1.0, 1.2], [0.8, 0.9], [0.5, 0.7]])
    found = benefit(steps, final, 2 * final, saturated=50)
    assert found.monotone
    assert (found.correlation, found.per_seed, found.per_seed_sem) == (-1, -1, 0)
    assert found.at_decay == pytest.approx(1)
    assert found.change.mean == pytest.approx(np.mean([-0.3, -0.2]) / 0.85)
    np.testing.assert_allclose(found.sem, np.abs(final[:, 0] - final[:, 1]) / 2)


def test_a_table_that_rises_once_is_not_monotone():
    final = np.array([[1.0, 1.1], [0.7, 0.8], [0.75, 0.85]])
    found = benefit(np.array([1, 2, 3]), final, final, saturated=1)
    assert not found.monotone
    assert found.correlation == pytest.approx(-0.5)


def test_the_interval_covers_the_true_change_at_its_rate():
    """2000 samples of 5 seeds: a 95 % interval covers between 93.5 and 96.5 % of the time (3 standard errors)."""
    source = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        first = np.full(5, 2.0)
        change = paired_change(first, first - 0.5 + 0.1 * source.standard_normal(5))
        hits += change.low <= -0.25 <= change.high
    assert 0.935 < hits / 2000 < 0.965


def test_losses_that_never_move_have_no_rank_correlation_and_no_verdict():
    final = np.ones((3, 2))
    found = benefit(np.array([1, 2, 3]), final, final, saturated=1)
    assert np.isnan([found.correlation, found.pooled, found.per_seed, found.at_decay]).all()
    assert found.change.verdict == "no change can be told"


def test_one_seed_has_no_standard_error():
    with pytest.raises(InputError, match="seeds = 1 leave no standard error"):
        paired_change(np.ones(1), np.ones(1))


def test_saturation_is_where_what_is_left_is_lost_in_the_noise():
    """Two seeds 0.2 apart: standard error 0.1, one-sided 5 % point of t with one degree of freedom 6.314."""
    steps = np.array([10, 20, 40, 80, 160])
    noisy = np.tile([1.0, 1.2], (5, 1))
    left = np.array([5.0, 0.632, 0.631, 0.1, 0.0])[:, None] * np.ones(2)
    assert saturation(steps, left, noisy, false_alarm=0.05) == 40
    assert saturation(steps, left, 10 * noisy, false_alarm=0.05) == 10
    assert saturation(steps, left, noisy, false_alarm=0.01) == 20
    assert saturation(steps, left[::-1], noisy, false_alarm=0.05) is None


def test_a_floor_that_falls_with_the_curvature_does_not_delay_saturation():
    """The noisy loss halves long after the fit is done: Phase II, not Phase I."""
    steps = 2 ** np.arange(12)
    left = np.exp(-steps / 8.0)[:, None] * np.ones(4)
    floor = 1 / (1 + steps / 500.0)
    noisy = floor[:, None] * (1 + 0.02 * np.random.default_rng(0).standard_normal((12, 4)))
    assert saturation(steps, left, left + noisy, false_alarm=0.05) in (32, 64)
