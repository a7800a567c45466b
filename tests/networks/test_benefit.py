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


def test_one_seed_has_no_standard_error():
    with pytest.raises(InputError, match="seeds = 1 leave no standard error"):
        paired_change(np.ones(1), np.ones(1))


def test_saturation_is_where_the_loss_stays_near_its_end():
    steps = np.array([10, 20, 40, 80, 160, 320, 640, 1280])
    observed = np.array([5.0, 2.0, 1.2, 1.02, 1.0, 1.01, 1.0, 1.0])
    assert saturation(steps, observed, within=0.05) == 80
    assert saturation(steps, observed, within=0.5) == 40
    assert saturation(steps, np.ones(8), within=0.05) == 10
    assert saturation(steps, np.array([1, 1, 1, 1, 1, 1, 1, 1.5]), within=0.05) is None
