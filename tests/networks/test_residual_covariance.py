"""The residuals' stationary covariance with several outputs: one-output limit, substitution, loops, simulation."""

import numpy as np
import pytest

from numerics import noise_floor
from numerics.errors import InputError
from numerics.networks.residual_covariance import Residuals
from tests.networks import naive


def kernel(size, seed=0, rank=40):
    a = np.random.default_rng(seed).standard_normal((size, rank)) / np.sqrt(rank)
    return a @ a.T


@pytest.mark.parametrize("size", [3, 12, 90])
def test_one_output_is_the_covariance_of_the_noise_floor(size):
    k = kernel(size, rank=2 * size)
    eta = 0.5 * noise_floor.stability_limit(k, batch=3)
    found = Residuals(k, 1, eta, 3).covariance(0.2)
    np.testing.assert_allclose(found, noise_floor.stationary_covariance(k, eta=eta, batch=3, sigma=0.2), rtol=1e-9)


@pytest.mark.parametrize("outputs", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 4])
def test_it_solves_the_full_linear_system(outputs, batch):
    k = kernel(4 * outputs)
    eta = 0.5 * 4 / np.linalg.eigvalsh(k)[-1]
    found = Residuals(k, outputs, eta, batch).covariance(0.3)
    np.testing.assert_allclose(found, naive.residual_covariance(k, outputs, eta, batch, 0.3), rtol=1e-9, atol=1e-15)


def test_treating_outputs_as_examples_gives_another_covariance():
    """Negative control: outputs of one example are drawn together, which the one-output equation does not know."""
    k = kernel(8)
    eta = 0.5 * 4 / np.linalg.eigvalsh(k)[-1]
    together = Residuals(k, 2, eta, 2).covariance(0.3)
    apart = Residuals(k, 1, eta, 2).covariance(0.3)
    assert np.abs(together - apart).max() > 0.05 * np.abs(together).max()


def test_simulated_residuals_have_this_covariance():
    """q ← q − eta K z simulated from its definition: 40 000 chains; every entry within 5 standard errors."""
    n, outputs, batch, sigma, chains = 3, 2, 2, 0.4, 40_000
    k = kernel(n * outputs)
    eta = 0.5 * n / np.linalg.eigvalsh(k)[-1]
    source = np.random.default_rng(1)
    q = np.zeros((chains, n, outputs))
    for _ in range(int(6 * n / (eta * np.linalg.eigvalsh(k)[0]))):
        z = np.zeros_like(q)
        for _ in range(batch):
            rows = source.integers(n, size=chains)
            noise = sigma * source.standard_normal((chains, outputs))
            z[np.arange(chains), rows] += (q[np.arange(chains), rows] - noise) / batch
        q = q - eta * (z.reshape(chains, -1) @ k).reshape(q.shape)
    flat = q.reshape(chains, -1)
    products = flat[:, :, None] * flat[:, None, :]
    predicted = Residuals(k, outputs, eta, batch).covariance(sigma)
    sem = products.std(axis=0) / np.sqrt(chains)
    assert (np.abs(products.mean(axis=0) - predicted) < 5 * sem).all()
    assert (sem < 0.05 * np.diag(predicted).max()).all()


def test_the_limit_of_stability_is_that_of_one_output():
    k = kernel(10)
    limit = noise_floor.stability_limit(k, batch=2)
    assert Residuals(k, 1, 0.999 * limit, 2).gain < 1
    with pytest.raises(InputError, match="is above the mean-square stability limit"):
        Residuals(k, 1, 1.001 * limit, 2).covariance(0.1)


def test_a_kernel_of_the_wrong_shape_is_refused():
    with pytest.raises(InputError, match=r"K shape = \(5, 5\)"):
        Residuals(kernel(5), 2, 0.1, 2)
