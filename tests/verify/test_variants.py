"""SGD and heavy ball under every noise and sampling against their definition, written as a loop on the same draws."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from numerics import sgd, streams
from numerics.dynamics import LABEL_NOISE, Variant, VariantSGD
from numerics.errors import InputError
from numerics.kernels import rows
from numerics.problem import Problem
from numerics.schedule import Constant
from tests.verify.truth import BATCH, ETA, REPLICA, SEED, SIGMA, STEPS, FloatArray, Truth, block, simulated
from verify.case import Setup


def order_of(epoch: int, n: int) -> list[int]:
    """Fisher and Yates on a list, from the words of the epoch."""
    order = list(range(n))
    for a in range(n - 1, 0, -1):
        number = epoch * n + a
        other = block(number // 4, rows.SHUFFLE)[0][number % 4] * (a + 1) >> 32
        order[a], order[other] = order[other], order[a]
    return order


def drawn_rows(step: int, n: int, batch: int, sampling: str) -> list[int]:
    """The rows of a step."""
    if sampling == "shuffle":
        epoch, place = divmod(step, n // batch)
        return order_of(epoch, n)[place * batch : (place + 1) * batch]
    left, found = list(range(n)), []
    for b in range(batch):
        word = block(step * batch + b)[0][2]
        if sampling == "without-replacement":
            found.append(left.pop(word * len(left) >> 32))
        else:
            found.append(word * n >> 32)
    return found


def label_noise(kind: str, freedom: float, words: tuple[int, ...], normal: float) -> float:
    """Noise of mean 0 and variance 1."""
    if kind == "gaussian":
        return normal
    if kind == "rademacher":
        return 1.0 if words[0] < 2**31 else -1.0
    first, second = (words[0] + 0.5) / 2**32, (words[1] + 0.5) / 2**32
    student = np.sqrt(freedom * (first ** (-2 / freedom) - 1)) * np.cos(2 * np.pi * second)
    return float(student / np.sqrt(freedom / (freedom - 2)))


def naive(truth: Truth, variant: Variant) -> FloatArray:
    """u and p after STEPS steps, from the definition."""
    problem, u = truth.problem, truth.u
    (n, d), size = problem.X.shape, u.size
    p = np.zeros(size)
    for k in range(STEPS):
        gradient = np.zeros(size)
        for b, row in enumerate(drawn_rows(k, n, BATCH, variant.sampling)):
            words, normal = block(k * BATCH + b)
            x = problem.X[row].copy()
            if variant.dropout:
                numbers = [(k * BATCH + b) * d + a for a in range(d)]
                masks = [block(m // 4, rows.DROPOUT)[0][m % 4] / 2**32 >= variant.dropout for m in numbers]
                x *= np.array(masks) / (1 - variant.dropout)
            slope, f = truth.predictor(u + 1e-30j * np.eye(size)).imag @ x * 1e30, x @ truth.predictor(u)
            if variant.flip is None:
                error = f - problem.y[row] - SIGMA * label_noise(variant.label, variant.freedom, words, normal)
            else:
                label = -problem.y[row] if words[3] / 2**32 < variant.flip else problem.y[row]
                error = -label / (1 + np.exp(label * f))
            gradient += error * slope / BATCH
        if variant.isotropic:
            normals = np.array([normal_of(k * size + a) for a in range(size)])
            gradient = gradient + variant.isotropic * normals
        p = variant.momentum * p + gradient
        u = u - ETA * (p + variant.weight_decay * u)
    return np.concatenate([u, p])


def normal_of(t: int) -> float:
    """Sample t of the stream of isotropic noise."""
    words, even = block(t // 2, rows.ISOTROPIC)
    if t % 2 == 0:
        return even
    radius = np.sqrt(-2 * np.log((words[0] + 0.5) / 2**32))
    return float(radius * np.sin(2 * np.pi * (words[1] + 0.5) / 2**32))


@pytest.mark.parametrize(
    "variant",
    [
        Variant(),
        Variant(momentum=0.8, weight_decay=0.3),
        Variant(isotropic=0.5),
        Variant(flip=0.2, sampling="shuffle"),
        Variant(momentum=0.5, isotropic=0.1, weight_decay=0.1),
        Variant(label="rademacher", sampling="without-replacement"),
        Variant(label="student", freedom=5.0, sampling="shuffle"),
        Variant(dropout=0.3),
    ],
)
def test_variant_is_its_definition(truth: Truth, variant: Variant) -> None:
    problem = truth.problem if variant.flip is None else Problem(truth.problem.X, np.sign(truth.problem.y))
    model = VariantSGD(problem, truth.kind, 10.0, variant)
    states = simulated(model, model.start(truth.u, REPLICA + 1))
    expected = naive(replace(truth, problem=problem), variant)
    np.testing.assert_allclose(states[REPLICA], expected, rtol=1e-11, atol=1e-12)


def test_batches_are_drawn_uniformly() -> None:
    """Every ordered pair of distinct rows of 5 as often as another; every order of an epoch of 4 rows, too."""
    pairs = np.zeros((5, 5))
    drawn = np.zeros(2, np.int64)
    words = streams.samples(seed=1, purpose="sgd", replica=0, first=0, count=40_000)[1]
    for first, second in zip(words[0::2], words[1::2], strict=True):
        a = rows.distinct(drawn, 0, first, 5)
        pairs[a, rows.distinct(drawn, 1, second, 5)] += 1
    assert np.all(np.diag(pairs) == 0)
    expected = 20_000 / 20
    statistic = np.sum((pairs[~np.eye(5, dtype=bool)] - expected) ** 2) / expected
    assert chi2.sf(statistic, 19) > 1e-6
    found = Counter(tuple(order_of(epoch, 4)) for epoch in range(6000))
    assert len(found) == 24
    assert chi2.sf(sum((c - 250) ** 2 for c in found.values()) / 250, 23) > 1e-6


@pytest.mark.parametrize(("kind", "fourth"), [("rademacher", 1.0), ("student", 3 + 6 / 6)])
def test_label_noise_has_the_moments_of_its_name(kind: str, fourth: float) -> None:
    """Mean 0, variance 1 and, for ten degrees of freedom, fourth moment 4; false alarm 6e-7 each."""
    stream = rows.buffers()
    key = np.array(streams.key(3), np.uint64)
    draws = []
    for number in range(100_000):
        j = rows.locate(number, stream, key, 0, 0)
        draws.append(rows.label_noise(LABEL_NOISE[kind], 10.0, stream[1], stream[2], j))
    x = np.array(draws)
    for power, want in ((1, 0.0), (2, 1.0), (4, fourth)):
        sem = max(float(np.std(x**power)) / np.sqrt(x.size), 1e-12)
        assert abs(np.mean(x**power) - want) < 5 * sem, power


def test_streams_beside_those_of_the_package_have_their_own_numbers() -> None:
    own = {rows.SHUFFLE, rows.ISOTROPIC, rows.DROPOUT}
    assert len(own) == 3
    assert not own & set(streams.PURPOSES.values())


def test_variant_without_terms_is_plain_sgd_in_distribution_of_steps(setup: Setup) -> None:
    """One step from M: the mean square of the step is that of plain SGD, whatever the addresses of the draws."""
    ends = []
    for model in (
        VariantSGD(setup.problem, setup.parametrization, 10.0, Variant()),
        sgd.FullRadialSGD(setup.problem, setup.parametrization, 10.0),
    ):
        states = model.start(setup.u0, 20_000)
        sgd.simulate(model, states, Constant(ETA), np.array([0, 1]), noise=sgd.Noise(BATCH, SIGMA, SEED), threads=1)
        ends.append(np.sum((states[:, : setup.problem.d] - setup.u0) ** 2, axis=1))
    difference = ends[0].mean() - ends[1].mean()
    sem = np.sqrt((ends[0].var() + ends[1].var()) / 20_000)
    assert abs(difference) < 5 * sem  # false alarm 6e-7


def test_a_diverged_replica_is_nan(setup: Setup) -> None:
    model = VariantSGD(setup.problem, setup.parametrization, 10.0, Variant())
    states = model.start(1e9 * setup.u0, 2)
    assert np.isnan(simulated(model, states)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"momentum": 1.0}, "momentum = 1 is not in"),
        ({"flip": 0.5}, "flip = 0.5 is not in"),
        ({"dropout": 1.0}, "dropout = 1 is not in"),
        ({"freedom": 4.0}, "freedom = 4 is not above 4"),
        ({"label": "cauchy"}, "label = cauchy is unknown; choose gaussian"),
        ({"sampling": "sorted"}, "sampling = sorted is unknown"),
    ],
)
def test_impossible_variants_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Variant(**arguments)
