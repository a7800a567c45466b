"""Random numbers have addresses: nothing else decides them."""

import numpy as np
import pytest

from numerics.networks.draws import BLOCK, BatchSampler, Purpose, flips, generator, normals


def test_an_address_gives_its_numbers_and_another_address_gives_others():
    base = generator(3, Purpose.NOISE, stream=1, block=2).standard_normal(8)
    np.testing.assert_array_equal(base, generator(3, Purpose.NOISE, stream=1, block=2).standard_normal(8))
    for other in (
        generator(4, Purpose.NOISE, stream=1, block=2),
        generator(3, Purpose.BATCH, stream=1, block=2),
        generator(3, Purpose.NOISE, stream=0, block=2),
        generator(3, Purpose.NOISE, stream=1, block=3),
    ):
        assert not np.array_equal(base, other.standard_normal(8))


def test_the_global_state_plays_no_part():
    np.random.seed(0)  # noqa: NPY002
    first = normals(1, 0, 5, (3, 2))
    np.random.seed(1)  # noqa: NPY002
    np.testing.assert_array_equal(first, normals(1, 0, 5, (3, 2)))


@pytest.mark.parametrize(("n", "size"), [(10, 5), (10, 3), (200, 25)])
def test_an_epoch_shows_every_example_at_most_once_and_whole_batches_show_all(n, size):
    sampler = BatchSampler(n, size, True)
    steps = np.concatenate([sampler.indices(0, 0, block) for block in range(3)])
    per_epoch = n // size
    for epoch in range(len(steps) // per_epoch):
        seen = steps[epoch * per_epoch : (epoch + 1) * per_epoch].ravel()
        assert len(np.unique(seen)) == len(seen) == per_epoch * size
    assert not np.array_equal(steps[:per_epoch], steps[per_epoch : 2 * per_epoch])


def test_draws_with_replacement_are_uniform():
    """Chi-square of 64·40·25 draws over 10 examples, refused beyond the 1 in 10⁵ quantile (41.1 for 9 degrees)."""
    sampler = BatchSampler(10, 25, False)
    counts = sum(np.bincount(sampler.indices(0, 0, block).ravel(), minlength=10) for block in range(40))
    expected = 40 * BLOCK * 25 / 10
    assert ((counts - expected) ** 2 / expected).sum() < 41.1


def test_flip_offsets_reach_every_other_class():
    uniform, offset = flips(0, 0, 0, (50,), 4)
    assert uniform.shape == offset.shape == (BLOCK, 50)
    assert set(np.unique(offset)) == {1, 2, 3}
