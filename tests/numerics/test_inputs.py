"""The library's own arguments: what no step can draw and no path can be asked at is refused in one line."""

import numpy as np
import pytest

from numerics import start
from numerics.dynamics import EulerMaruyama, GradientFlow, PlaneEulerMaruyama, Variant, VariantSGD
from numerics.errors import InputError
from numerics.inputs import in_order
from numerics.moments import BatchMoments, MomentumMoments, SdeMoments
from numerics.noise_floor import floor_small_eta, stability_limit, stationary_covariance
from numerics.problem import Problem
from numerics.radial_manifold import RadialManifold
from numerics.scalar_law import RadialLaw
from numerics.schedule import Constant, Cosine, Linear
from numerics.sgd import FullRadialSGD, Noise, RadialSGD, SeparableSGD, simulate
from theory.parametrization import named

SHAPE = named("radial", 2)
#: (parameter, values refused, values taken)
DRAWN = [
    ("batch", (0, -1, 1.5, 2.0, float("nan"), "4", None), (1, np.int64(7))),
    ("sigma", (-0.1, float("nan"), float("inf"), "0.1", None), (0, 0.5, np.float32(0.25))),
]


def problem():
    draw = np.random.default_rng(5)
    X = draw.standard_normal((3, 8))
    return Problem(X, X @ draw.standard_normal(8))


def law(*, batch=1, sigma=0.1):
    known = problem()
    return RadialLaw(RadialManifold(SHAPE, known.gram, known.y, known.norm_w_mn), batch=batch, sigma=sigma)


def noise(*, batch=1, sigma=0.1, seed=0):
    return Noise(batch, sigma, seed)


@pytest.mark.parametrize("make", [law, noise])
@pytest.mark.parametrize(("parameter", "refused", "taken"), DRAWN)
def test_the_law_and_the_simulator_refuse_the_same_draws(make, parameter, refused, taken):
    for value in refused:
        with pytest.raises(InputError, match=f"^{parameter} = .*; give one$"):
            make(**{parameter: value})
    for value in taken:
        make(**{parameter: value})


@pytest.mark.parametrize("seed", [-1, 0.5, None])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(InputError, match=r"seed = .* is not an integer of at least 0"):
        noise(seed=seed)


@pytest.mark.parametrize("steps", [[], [[0, 1]], [5, 3], [-1, 2], [0, 1.5], [0, float("nan")], ["a"], 3, None])
def test_steps_out_of_order_are_refused(steps):
    with pytest.raises(InputError, match=r"steps = .* are not step numbers in order; give integers"):
        in_order(steps)


def test_whole_numbers_of_any_type_are_step_numbers():
    assert in_order([0, 0, 5]).tolist() == [0, 0, 5]  # seen twice
    for steps in ([0, 10**5, 10**6], np.array([0.0, 1e5, 1e6]), np.array([0, 10**5, 10**6], np.uint32)):
        found = in_order(steps)
        assert found.dtype == np.int64
        assert found.tolist() == [0, 10**5, 10**6]


def test_simulator_and_law_take_no_steps_back():
    known = problem()
    direction = start.null_direction(known, 1)
    model = RadialSGD(known.reduced(direction), SHAPE, 3.0)
    u = start.radial_from_predictor(start.on_manifold(known, 1.0, direction), 2.0)
    states = model.start(u, 2)
    before = states.copy()
    with pytest.raises(InputError, match="steps"):
        simulate(model, states, Constant(0.01), np.array([0, 100, 50]), noise=noise(), threads=1)
    assert np.array_equal(states, before)  # refused before a step is taken
    with pytest.raises(InputError, match="steps"):
        law().path(1.0, Constant(0.01), [100, 50])


@pytest.mark.parametrize("ends", [(1.0, 2.0), (1.0, 0.0), (1.0, -0.5), (0.0, 0.5), (1.0, float("nan"))])
def test_the_timescale_takes_only_distances_that_the_drift_passes(ends):
    with pytest.raises(InputError, match=r"rho_end = .* is not between 0 and rho_start"):
        law().steps_between(*ends, 0.01)


K = np.array([[2.0, 0.5], [0.5, 1.0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stability_limit(K[:1], batch=1), r"shape of K = \(1, 2\) is not \(n, n\)"),
        (lambda: stability_limit(K * np.nan, batch=1), "K = .* is not finite"),
        (lambda: stability_limit(K, batch=0), "batch = 0"),
        (lambda: stationary_covariance(K, eta=-0.1, batch=1, sigma=0.1), "eta = -0.1 is not a finite number"),
        (lambda: stationary_covariance(K, eta=0.1, batch=1, sigma=-1.0), "sigma = -1"),
        (lambda: floor_small_eta(K, eta=0.1, batch=0, sigma=0.1), "batch = 0"),
        (lambda: floor_small_eta(K, eta=np.inf, batch=1, sigma=0.1), "eta = inf"),
        (lambda: BatchMoments(0, 0.1), "batch = 0"),
        (lambda: BatchMoments(1, 0.1, isotropic=-1.0), "isotropic = -1"),
        (lambda: MomentumMoments(1, 0.1, 1.0), r"momentum = 1 is not in \[0, 1\)"),
        (lambda: SdeMoments(1, float("nan"), False), "sigma = nan"),
        (lambda: EulerMaruyama(problem(), SHAPE, 3.0, -0.1, False), "eta = -0.1"),
        (lambda: PlaneEulerMaruyama(radial()[1].reduced, SHAPE, 3.0, eta=float("nan")), "eta = nan"),
        (lambda: law().path(-1.0, Constant(0.01), [0, 1]), "rho0 = -1"),
        (lambda: law().path(float("nan"), Constant(0.01), [0, 1]), "rho0 = nan"),
    ],
)
def test_the_laws_refuse_what_has_no_meaning(call, message):
    with pytest.raises(InputError, match=message):
        call()


def radial():
    known = problem()
    direction = start.null_direction(known, 1)
    u = start.radial_from_predictor(start.on_manifold(known, 1.0, direction), 2.0)
    return known, RadialSGD(known.reduced(direction), SHAPE, 3.0), u


def every_model():
    """A model of each layout, and how many parameters it has."""
    known, reduced, _ = radial()
    cubic, two = named("coordinatewise", 3), named("diagonal-product", 2)
    return [
        (reduced, known.d),
        (FullRadialSGD(known, SHAPE, 3.0), known.d),
        (SeparableSGD(known, cubic, 3.0), known.d),
        (SeparableSGD(known, two, 3.0), 2 * known.d),
        (VariantSGD(known, two, 3.0, Variant(momentum=0.5)), 2 * known.d),
        (EulerMaruyama(known, two, 3.0, 0.01, False), 2 * known.d),
        (GradientFlow(known, SHAPE), known.d),
    ]


def test_a_start_has_a_number_for_each_parameter_and_a_replica():
    for model, size in every_model():
        for wrong in (size - 1, size + 1):
            with pytest.raises(InputError, match=rf"shape of u = \({wrong},\) is not \({size},\)"):
                model.start(np.ones(wrong), 2)
        for replicas in (0, -1, 1.5):
            with pytest.raises(InputError, match="replicas = "):
                model.start(np.zeros(size), replicas)


def test_states_of_another_shape_never_reach_compiled_code():
    """It checks no bounds."""
    for model, size in every_model()[:-1]:
        states = model.start(np.zeros(size), 2)
        with pytest.raises(InputError, match="shape of states"):
            model.advance(np.ascontiguousarray(states[..., :-1]), np.arange(2), np.full(3, 0.01), noise(), 0)


def test_a_start_outside_the_span_is_not_silently_projected():
    known, model, u = radial()
    other = start.null_direction(known, 2)
    with pytest.raises(InputError, match="is not in the span of the rows of X and the direction; reduce along"):
        model.start(u + 0.01 * other, 2)
    model.start(u, 2)


def test_no_threads_are_refused_before_a_step():
    _, model, u = radial()
    with pytest.raises(InputError, match="threads = 0"):
        simulate(model, model.start(u, 2), Constant(0.01), np.array([0, 5]), noise=noise(), threads=0)


@pytest.mark.parametrize("shape", [Cosine, Linear])
def test_the_law_follows_a_schedule_to_zero(shape):
    """At eta = 0 nothing fluctuates: the end is the limit of schedules that end above it."""
    steps = [0, 300, 999, 1000, 1500]
    found = law().path(1.0, shape(0.01, 1000, 0.0), steps)
    near = law().path(1.0, shape(0.01, 1000, 1e-9), steps)
    np.testing.assert_allclose(found.rho, near.rho, rtol=1e-6)
    np.testing.assert_allclose(found.floor, near.floor, atol=1e-6 * near.floor[0])
    assert found.floor[-1] == 0.0
    assert np.isfinite(found.remainder).all()
