"""C2 and C9 against the full second-moment map, averaged row by row."""

import numpy as np
import pytest

from numerics import noise_floor
from numerics.errors import InputError
from numerics.noise_floor import Fluctuations, floor, floor_small_eta, stability_limit, stationary_covariance
from tests import naive


def kernel(n, condition=30.0, seed=0):
    vectors = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]
    return vectors @ np.diag(np.geomspace(1, condition, n)) @ vectors.T


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.95])
def test_the_covariance_solves_the_full_second_moment_equation(n, batch, share):
    K = kernel(n)
    eta = share * stability_limit(K, batch=batch)
    expected, radius = naive.stationary_covariance(K, eta, batch, 0.3)
    assert radius < 1
    C = stationary_covariance(K, eta=eta, batch=batch, sigma=0.3)
    np.testing.assert_allclose(C, expected, rtol=1e-9, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize(("n", "batch"), [(1, 1), (3, 1), (4, 3), (6, 50)])
def test_the_stability_limit_is_where_the_spectral_radius_is_one(n, batch):
    K = kernel(n)
    limit = stability_limit(K, batch=batch)
    assert naive.stationary_covariance(K, limit * (1 - 1e-7), batch, 1.0)[1] < 1
    assert naive.stationary_covariance(K, limit * (1 + 1e-7), batch, 1.0)[1] > 1


def test_the_stability_limit_rises_with_the_batch_towards_that_of_gradient_descent():
    K = kernel(6)
    limits = [stability_limit(K, batch=batch) for batch in (1, 2, 4, 16, 256, 10**6)]
    assert np.all(np.diff(limits) > 0)
    assert limits[-1] == pytest.approx(2 * 6 / np.linalg.eigvalsh(K)[-1], rel=1e-4)


def test_perturbations_accumulate_to_the_sum_of_their_powers():
    K, batch, draw = kernel(4), 2, np.random.default_rng(1)
    eta = 0.6 * stability_limit(K, batch=batch)
    source = draw.standard_normal((4, 4))
    source = source + source.T
    total, power = np.zeros((4, 4)), source
    for _ in range(3000):
        total += power
        power = naive.second_moment_step(power, K, eta, batch, 0.0)
    np.testing.assert_allclose(Fluctuations(K, eta, batch).accumulated(source), total, rtol=1e-9, atol=1e-9)


def test_conjugate_gradients_and_the_dense_system_agree(monkeypatch):
    K = kernel(24, condition=1e3)
    eta = 0.8 * stability_limit(K, batch=3)
    dense = stationary_covariance(K, eta=eta, batch=3, sigma=1.0)
    monkeypatch.setattr(noise_floor, "DENSE_LIMIT", 2)
    np.testing.assert_allclose(stationary_covariance(K, eta=eta, batch=3, sigma=1.0), dense, rtol=1e-8)
    assert stability_limit(K, batch=3) == pytest.approx(eta / 0.8, rel=1e-8)


def test_the_small_eta_floor_is_the_limit_and_its_error_is_of_first_order():
    K, ratios = kernel(5), []
    for eta in (1e-3, 5e-4, 2.5e-4):
        exact = floor(K, eta=eta, batch=2, sigma=0.4)
        ratios.append(exact / floor_small_eta(K, eta=eta, batch=2, sigma=0.4) - 1)
    orders = np.log2(np.array(ratios[:-1]) / np.array(ratios[1:]))
    assert np.all(np.abs(orders - 1) < 0.01)
    assert 0 < ratios[-1] < 0.002


def test_above_the_limit_the_error_names_the_limit():
    K = kernel(3)
    limit = stability_limit(K, batch=2)
    with pytest.raises(
        InputError, match=rf"eta = .* exceeds the mean-square stability limit {limit:.6g} .*; lower eta"
    ):
        stationary_covariance(K, eta=1.01 * limit, batch=2, sigma=1.0)
