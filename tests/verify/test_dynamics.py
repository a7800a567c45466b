"""Every dynamics beside SGD against its definition, written as a loop on the same draws."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count, product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import chi2

from numerics import sgd, streams
from numerics.dynamics import (
    LABEL_NOISE,
    SAMPLINGS,
    EulerMaruyama,
    GradientFlow,
    Variant,
    VariantSGD,
    WeakSecondOrder,
    compact,
    trajectory,
)
from numerics.errors import InputError
from numerics.kernels import rows
from numerics.momentum_law import MomentumFluctuations, momentum_stability_limit
from numerics.problem import Problem
from numerics.schedule import Constant
from numerics.sde_law import sde_moment
from numerics.specialise import specialise
from tests.naive import philox
from theory.parametrization import Parametrization, named
from verify import oracle
from verify.case import Case, Setup, radial

FloatArray = npt.NDArray[np.float64]
SCHEMES = {"sde": EulerMaruyama, "sde2": WeakSecondOrder}
#: two factors differ from one in the map alone: they are compiled for one kernel
few = pytest.mark.parametrize("truth", ["radial", "coordinatewise"], indirect=True)
STEPS, ETA, BATCH, SIGMA, SEED, REPLICA = 25, 0.03, 3, 0.2, 7, 2


@dataclass(frozen=True)
class Truth:
    """A problem, a named parametrization with its predictor typed out, and a start with all parts of u away from 0."""

    problem: Problem
    kind: Parametrization
    predictor: Callable[[FloatArray], FloatArray]
    u: FloatArray

    def rows(self, u: FloatArray) -> FloatArray:
        """A ``(n, p)``, by complex steps."""
        return np.asarray(self.problem.X @ self.predictor(u + 1e-30j * np.eye(u.size)).imag.T * 1e30)

    def residual(self, u: FloatArray) -> FloatArray:
        """X F(u) - y."""
        return np.asarray(self.problem.X @ self.predictor(u) - self.problem.y)

    def gradient(self, u: FloatArray) -> FloatArray:
        """Of the train loss."""
        return self.rows(u).T @ self.residual(u) / self.problem.n

    def corrected(self, u: FloatArray, eta: float) -> FloatArray:
        """Gradient of L + (eta/4)|grad L|^2, by central differences along grad L."""
        force = self.gradient(u)
        h = 1e-5 * np.linalg.norm(u) / np.linalg.norm(force)
        return force + eta / 2 * (self.gradient(u + h * force) - self.gradient(u - h * force)) / (2 * h)


PREDICTORS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "radial": lambda u: oracle.predictor(u, 3.0),
    "coordinatewise": lambda u: u**3,
    "diagonal-product": lambda u: np.split(u, 2, axis=-1)[0] * np.split(u, 2, axis=-1)[1],
}


@pytest.fixture(scope="module")
def setup() -> Setup:
    return Case(depth=3.0, n=6, extra=2, seed=4).setup()


@pytest.fixture(scope="module", params=PREDICTORS)
def truth(request: pytest.FixtureRequest, setup: Setup) -> Truth:
    """Radial from its manifold of minima; the others from a random point."""
    kind, predictor = named(request.param, 3), PREDICTORS[request.param]
    if request.param == "radial":
        return Truth(setup.problem, kind, predictor, setup.u0)
    size = setup.problem.d * len(kind.factors)
    u = 0.3 + 0.7 * np.random.default_rng(2).random(size)
    return Truth(setup.problem, kind, predictor, u)


def simulated(model: sgd.Model, states: FloatArray) -> FloatArray:
    sgd.simulate(model, states, Constant(ETA), np.array([0, STEPS]), noise=sgd.Noise(BATCH, SIGMA, SEED), threads=1)
    return states


def normals(per_step: int) -> Iterator[FloatArray]:
    """Normals of one step after another, from a stream of which nothing else is wanted."""
    for k in count():
        yield streams.normals(seed=SEED, purpose="sgd", replica=REPLICA, first=k * per_step, count=per_step)


def block(number: int, purpose: int = 0) -> tuple[tuple[int, ...], float]:
    """The four words of a block, and the normal of its first two."""
    words = philox((number, 0, REPLICA, purpose), (SEED, 0))
    radius = np.sqrt(-2 * np.log((words[0] + 0.5) / 2**32))
    return words, float(radius * np.cos(2 * np.pi * (words[1] + 0.5) / 2**32))


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


@few
@pytest.mark.parametrize("dynamics", ["without-replacement", "shuffle", "sde", "sde2"])
def test_bits_depend_on_neither_threads_nor_pieces_nor_company(truth: Truth, dynamics: str) -> None:
    model: Any = (
        VariantSGD(truth.problem, truth.kind, 10.0, Variant(sampling=dynamics, dropout=0.1, isotropic=0.1))
        if dynamics in SAMPLINGS
        else SCHEMES[dynamics](truth.problem, truth.kind, 10.0, ETA, True)
    )

    def final(replicas: int, threads: int, steps: list[int]) -> FloatArray:
        states = model.start(truth.u, replicas)
        noise = sgd.Noise(2, SIGMA, SEED)
        sgd.simulate(model, states, Constant(ETA), np.array(steps), noise=noise, threads=threads)
        return np.asarray(states)

    together = final(5, 1, [0, 120])
    assert np.isfinite(together).all()
    assert np.array_equal(together, final(5, 2, [0, 1, 7, 50, 120]))
    assert np.array_equal(together[:2], final(2, 1, [0, 120]))


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
        draws.append(rows.label_noise(LABEL_NOISE[kind], 10.0, stream[1], stream[3], j))
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


def naive_sde(truth: Truth, u: FloatArray, eta: float, corrected: bool) -> FloatArray:
    """Euler-Maruyama with a symmetric n x n root in place of the kernel's rank-one form."""
    n = truth.problem.n
    source = normals(n)
    for _ in range(STEPS):
        xi = next(source)
        A, e = truth.rows(u), truth.residual(u)
        force = truth.corrected(u, eta) if corrected else truth.gradient(u)
        a = np.sqrt((e**2 + SIGMA**2) / n)
        v = e / (n * a)
        share = v @ v
        root = np.eye(n) - (1 - np.sqrt(1 - share)) / share * np.outer(v, v)
        covariance = np.diag(a) @ root @ root @ np.diag(a)
        np.testing.assert_allclose(covariance, np.diag(a**2) - np.outer(e, e) / n**2, atol=1e-12)
        u = u - ETA * force + np.sqrt(ETA * eta / BATCH) * (a * (root @ xi)) @ A
    return u


@few
@pytest.mark.parametrize("corrected", [False, True])
def test_sde_is_its_definition(truth: Truth, corrected: bool) -> None:
    model = EulerMaruyama(truth.problem, truth.kind, 10.0, 0.05, corrected)
    start = 1.1 * truth.u
    states = simulated(model, model.start(start, REPLICA + 1))
    expected = naive_sde(truth, start, 0.05, corrected)
    np.testing.assert_allclose(states[REPLICA], expected, rtol=1e-6 if corrected else 1e-11)


def test_compact_coordinates_give_the_same_path(setup: Setup) -> None:
    reduced = setup.problem.reduced(setup.direction)
    model = EulerMaruyama(setup.problem, setup.parametrization, 10.0, 0.05, False)
    small = EulerMaruyama(compact(reduced), setup.parametrization, 10.0, 0.05, False)
    full = simulated(model, model.start(setup.u0, 1))
    few = simulated(small, small.start(reduced.coordinates(setup.u0), 1))
    np.testing.assert_allclose(reduced.expand(few), full, rtol=1e-10, atol=1e-12)


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


def test_momentum_above_its_limit_is_refused(setup: Setup) -> None:
    limit = momentum_stability_limit(setup.kernel0, batch=1, momentum=0.9)
    with pytest.raises(InputError, match="exceeds the mean-square stability limit at momentum"):
        MomentumFluctuations(setup.kernel0, 1.01 * limit, 1, 0.9).covariance(1.0)


def naive_second_order(
    truth: Truth, u: FloatArray, h: float, one: FloatArray, two: FloatArray, corrected: bool
) -> FloatArray:
    """One step of RI6 as the paper writes it, with the noise's columns from a symmetric n x n root."""
    n, eta = truth.problem.n, 0.05

    def drift(v: FloatArray) -> FloatArray:
        return -(truth.corrected(v, eta) if corrected else truth.gradient(v))

    def columns(v: FloatArray) -> FloatArray:
        A, e = truth.rows(v), truth.residual(v)
        a = np.sqrt((e**2 + SIGMA**2) / n)
        w = e / (n * a)
        root = np.eye(n) - (1 - np.sqrt(1 - w @ w)) / (w @ w) * np.outer(w, w)
        return np.sqrt(eta / BATCH) * (A.T * a) @ root

    def column(k: int, v: FloatArray) -> FloatArray:
        return columns(v)[:, k]

    a0, b0 = drift(u), columns(u)
    out = u + h / 2 * (a0 + drift(u + h * a0 + b0 @ one))
    for k in range(n):
        up, down = (column(k, u + h * a0 + sign * np.sqrt(h) * b0[:, k]) for sign in (1, -1))
        out = out + (b0[:, k] / 2 + up / 4 + down / 4) * one[k] + (up - down) / 2 * (one[k] ** 2 - h) / 2 / np.sqrt(h)
        mixed = [
            (one[k] * one[m] + np.sqrt(h) * (-two[k] if k < m else two[m])) / 2 / np.sqrt(h) if m != k else 0.0
            for m in range(n)
        ]
        up, down = (column(k, u + sign * b0 @ np.array(mixed)) for sign in (1, -1))
        out = out + (up / 4 + down / 4 - b0[:, k] / 2) * one[k] + (up - down) / 2 * np.sqrt(h)
    return out


@few
@pytest.mark.parametrize("corrected", [False, True])
def test_weak_second_order_is_its_definition(truth: Truth, corrected: bool) -> None:
    model = WeakSecondOrder(truth.problem, truth.kind, 10.0, 0.05, corrected)
    u = 1.1 * truth.u
    states = simulated(model, model.start(u, REPLICA + 1))
    n = truth.problem.n
    for k in range(STEPS):
        words = [block(k * n + b)[0] for b in range(n)]
        one = np.array([np.sqrt(3 * ETA) * (-1.0 if w[2] < 2**32 / 6 else float(w[2] > 5 * 2**32 / 6)) for w in words])
        two = np.array([np.sqrt(ETA) * (1.0 if w[3] < 2**31 else -1.0) for w in words])
        u = naive_second_order(truth, u, ETA, one, two, corrected)
    np.testing.assert_allclose(states[REPLICA], u, rtol=1e-6 if corrected else 1e-11)


def test_gradient_flow_is_that_of_the_oracle(setup: Setup) -> None:
    flow = GradientFlow(setup.problem, setup.parametrization)
    start = 1.2 * setup.u0
    table = trajectory(
        flow, start, Constant(ETA), np.array([0, 50, 200]), noise=sgd.Noise(1, SIGMA, 0), replicas=3, threads=1
    )
    assert table.sizes == {"step": 3, "replica": 1}
    times = ETA * np.array([0.0, 50, 200])
    u = oracle.gradient_flow(setup.problem.X, setup.problem.y, start, setup.depth, times)
    w = np.array([oracle.predictor(v, setup.depth) for v in u])
    np.testing.assert_allclose(table["loss"].values[:, 0], setup.problem.train_loss(w), rtol=1e-7, atol=1e-15)


def test_every_dynamics_gives_the_same_table(setup: Setup) -> None:
    kind = setup.parametrization
    made = [
        VariantSGD(setup.problem, kind, 10.0, Variant(momentum=0.5)),
        EulerMaruyama(setup.problem, kind, 10.0, ETA, False),
        WeakSecondOrder(setup.problem, kind, 10.0, ETA, True),
        GradientFlow(setup.problem, kind),
    ]
    steps, noise = np.array([0, 3, 9]), sgd.Noise(1, SIGMA, 0)
    tables = [trajectory(m, setup.u0, Constant(ETA), steps, noise=noise, replicas=2, threads=1) for m in made]
    for table in tables:
        assert set(table.variables) == set(tables[0].variables)
        assert table["loss"].dims == ("step", "replica")
        np.testing.assert_allclose(table["rho"].values[0], setup.rho0, rtol=1e-9)


def test_compact_coordinates_keep_the_test_loss(setup: Setup) -> None:
    """Teacher and held-out rows."""
    random = np.random.default_rng(0)
    held = Problem(
        setup.problem.X, setup.problem.y, X_test=random.standard_normal((9, setup.problem.d)), y_test=random.random(9)
    )
    for problem in (setup.problem, held):
        reduced = problem.reduced(setup.direction)
        found = compact(reduced).test_loss(reduced.coordinates(setup.w0))
        np.testing.assert_allclose(found, problem.test_loss(setup.w0), rtol=1e-12)


def test_one_step_of_the_scheme_of_second_weak_order_errs_in_the_third_order() -> None:
    """D = 1, n = 2, over all 36 values of its increments: E q q^T against the exact moment of the equation."""
    problem = Case(n=2, depth=1.0, extra=2, seed=3).setup().problem
    kernel = specialise("sde_second", radial(1.0))
    K, eta, u = problem.gram, 0.3, problem.w_mn + 0.4
    q0 = problem.X @ u - problem.y
    errors = []
    for h in (0.04, 0.02, 0.01):
        mean = np.zeros((2, 2))
        for values in product((-1, 0, 1), (-1, 0, 1), (-1, 1), (-1, 1)):
            one, two = np.sqrt(3 * h) * np.array(values[:2], float), np.sqrt(h) * np.array(values[2:], float)
            weight = np.prod([2 / 3 if x == 0 else 1 / 6 for x in values[:2]]) / 4
            v = u.copy()
            kernel.step(v, problem.X, problem.y, h, eta, True, 1, 0.7, one, two)
            q = problem.X @ v - problem.y
            mean += weight * np.outer(q, q)
        exact = sde_moment(K, np.outer(q0, q0), eta=eta, batch=1, sigma=0.7, time=h, corrected=True)
        errors.append(np.abs(mean - exact).max())
    assert np.all(np.abs(np.log2(np.array(errors[:-1]) / errors[1:]) - 3) < 0.2)
