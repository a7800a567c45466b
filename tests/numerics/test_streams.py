"""The random streams: published Philox vectors, addresses, the normal's distribution."""

import math

import numpy as np
import pytest
from scipy import stats

from numerics import streams
from numerics.errors import InputError
from tests import naive

KNOWN = [  # Random123's known-answer vectors for Philox 4x32-10
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_gives_the_published_vectors(counter, key, expected):
    out = np.empty((4, 1), np.uint64)
    streams.philox(*counter, *key, out)
    assert tuple(out[:, 0].tolist()) == expected
    assert naive.philox(counter, key) == expected


def test_the_counter_carries_into_its_second_word():
    out = np.empty((4, 3), np.uint64)
    streams.philox(0xFFFFFFFF, 7, 1, 2, 3, 4, out)
    assert tuple(out[:, 1].tolist()) == naive.philox((0, 8, 1, 2), (3, 4))


@pytest.mark.parametrize("first", [0, 1, 129, 2**33 - 3])
def test_samples_equal_the_naive_twin_wherever_the_stream_is_entered(first):
    normals, words = streams.samples(seed=2**40 + 5, purpose="sgd", replica=3, first=first, count=9)
    expected = [naive.sample(2**40 + 5, 0, 3, first + t) for t in range(9)]
    assert words.tolist() == [word for _, word in expected]
    np.testing.assert_allclose(normals, [normal for normal, _ in expected], rtol=0, atol=4e-15)


def test_replicas_seeds_and_purposes_have_streams_of_their_own():
    def draw(**change):
        address = {"seed": 1, "purpose": "sgd", "replica": 0} | change
        return streams.samples(**address, first=0, count=4096)[0]

    base = draw()
    for change in ({"seed": 2}, {"seed": 1 + 2**32}, {"purpose": "start"}, {"replica": 1}):
        assert abs(np.corrcoef(base, draw(**change))[0, 1]) < 5 / math.sqrt(4096)


def test_normals_have_the_normal_distribution():
    """Kolmogorov-Smirnov, variance and kurtosis at a false-alarm rate of 1e-4 each; seed fixed."""
    normals, words = streams.samples(seed=11, purpose="sgd", replica=0, first=0, count=1_000_000)
    assert stats.kstest(normals, "norm").pvalue > 1e-4
    z = stats.norm.isf(0.5e-4)
    assert abs(normals.var() - 1) < z * math.sqrt(2 / normals.size)
    assert abs((normals**4).mean() - 3) < z * math.sqrt(96 / normals.size)
    assert abs(np.corrcoef(normals[:-1], normals[1:])[0, 1]) < z / math.sqrt(normals.size)
    assert stats.kstest(words / 2**32, "uniform").pvalue > 1e-4


def test_row_indices_are_uniform():
    _, words = streams.samples(seed=5, purpose="sgd", replica=0, first=0, count=210_000)
    counts = np.bincount([streams.row_index.py_func(np.uint64(word), 21) for word in words], minlength=21)
    assert stats.chisquare(counts).pvalue > 1e-4


def test_a_seed_outside_64_bits_is_refused():
    with pytest.raises(InputError, match=r"seed = -1 is not in \[0, 2\^64\)"):
        streams.key(-1)


def lanes(dtype, count=131_072, replicas=8, each=2):
    """Normals ``(replicas, count)``, each to a block, as kernels draw them, streams side by side, and the words."""
    blocks = count // each
    width = blocks * replicas
    words, normals = np.empty((4, width), np.uint64), np.empty((each, width), dtype)
    columns = streams.side_by_side(np.arange(replicas), blocks)
    streams.fill_lanes(np.array([11, 0], np.uint64), 0, columns, 5, words, normals)
    by_lane = normals.reshape(each, -1, replicas).transpose(2, 1, 0).reshape(replicas, -1)
    return by_lane, words[2:].reshape(2, -1, replicas).transpose(2, 1, 0).reshape(replicas, -1)


def test_streams_drawn_side_by_side_have_the_bits_of_each_alone():
    normals, words = lanes(np.float64, count=64)
    for replica in range(8):
        alone = streams.samples(seed=11, purpose="sgd", replica=replica, first=10, count=64)
        assert np.array_equal(normals[replica], alone[0])
        assert np.array_equal(words[replica], alone[1])


def test_four_normals_to_a_block_are_those_of_each_stream_alone():
    together = lanes(np.float64, count=64, each=4)[0]
    for replica in range(8):
        alone = streams.normals(seed=11, purpose="sgd", replica=replica, first=20, count=64)
        assert np.array_equal(together[replica], alone)
    expected = [naive.normal(11, 0, 7, t) for t in range(21, 51)]
    found = streams.normals(seed=11, purpose="sgd", replica=7, first=21, count=30)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_float32_normals_are_the_float64_ones_rounded():
    """To 2e-6, a few units in the last place of the largest."""
    assert np.abs(lanes(np.float32)[0] - lanes(np.float64)[0]).max() < 2e-6


def test_float32_normals_have_the_normal_distribution():
    """10^6 of them: Kolmogorov-Smirnov, moments, chi-squared over 40 equal bins, tails; false alarms 1e-4 each."""
    normals = lanes(np.float32)[0].ravel().astype(float)
    size, z = normals.size, stats.norm.isf(0.5e-4)
    assert stats.kstest(normals, "norm").pvalue > 1e-4
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(normals**power) - moment) < z * math.sqrt(variance / size)
    counts = np.bincount((stats.norm.cdf(normals) * 40).astype(int), minlength=40)
    assert stats.chisquare(counts).pvalue > 1e-4
    for tail in (3.0, 4.0):
        share = 2 * stats.norm.sf(tail)
        assert abs(np.mean(np.abs(normals) > tail) - share) < z * math.sqrt(share / size)
