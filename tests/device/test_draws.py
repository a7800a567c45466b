"""Draws on a device have numba's words, its normals to rounding, and in float32 the right distribution."""

import numpy as np
import pytest
from scipy import stats

torch = pytest.importorskip("torch")

from numerics import streams  # noqa: E402
from numerics.device import draws, limits  # noqa: E402
from numerics.device.work import Work  # noqa: E402
from tests import naive  # noqa: E402
from tests.device.systems import FAR, SEED, model  # noqa: E402


def drawn(device, replicas, first_block, blocks, dtype=torch.float64):
    numbers = torch.tensor(replicas, device=device)
    at = first_block + torch.arange(blocks, device=device)
    normals, words = draws.samples(streams.key(SEED), streams.PURPOSES["sgd"], numbers, at, dtype)
    return normals.cpu().numpy(), words.cpu().numpy()


@pytest.mark.parametrize("first_block", [0, 2**32 - 2, 2**33 + 5])
def test_words_are_philox_and_normals_numbas(device, first_block):
    normals, words = drawn(device, [0, 7, FAR], first_block, 4)
    for column, replica in enumerate([0, 7, FAR]):
        for t in range(8):
            normal, word = naive.sample(SEED, 0, replica, 2 * first_block + t)
            assert words[t, column] == word
            assert normals[t, column] == pytest.approx(normal, abs=1e-14)
        theirs, _ = streams.samples(seed=SEED, purpose="sgd", replica=replica, first=2 * first_block, count=8)
        np.testing.assert_allclose(normals[:, column], theirs, rtol=0, atol=1e-14)


def test_float32_normals_are_near_and_normal(device):
    """Rounding of a uniform moves a normal by 2e-6 at most, and one of a small radius by 2^-24 / radius more.

    Kolmogorov-Smirnov on 2^18 of them at a false alarm of 1e-4.
    """
    exact, _ = drawn(device, np.arange(64), 0, 2048)
    rough, _ = drawn(device, np.arange(64), 0, 2048, torch.float32)
    radius = np.repeat(np.hypot(exact[::2], exact[1::2]), 2, axis=0)
    assert np.all(np.abs(rough - exact) < 2e-6 + 2.0**-24 / radius)
    assert np.mean(np.abs(rough - exact)) < 2e-7  # 7e-8 measured
    assert stats.kstest(rough.ravel().astype(float), "norm").pvalue > 1e-4
    assert stats.kstest(1.01 * rough.ravel().astype(float), "norm").pvalue < 0.05  # the test sees 1 %


def test_a_kernel_draws_the_same_numbers(device, engine):
    """What `device-bench` times as the generator alone: sums of 128 normals per stream."""
    if engine != "triton":
        pytest.skip("the draws of the torch engine are compared above")
    simulator, _ = model("radial")
    work = Work.of(simulator, batch=1, seed=SEED)
    sums = limits.fused_draws(work, device, torch.float64, 5)()
    normals, _ = drawn(device, np.arange(5), 0, 64)
    np.testing.assert_allclose(sums.cpu().numpy(), normals.sum(axis=0), rtol=1e-12, atol=1e-12)
