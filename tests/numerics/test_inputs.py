"""The library's own arguments: what no step can draw and no path can be asked at is refused in one line."""

import numpy as np
import pytest

from numerics import start
from numerics.errors import InputError
from numerics.inputs import in_order
from numerics.problem import Problem
from numerics.radial_manifold import RadialManifold
from numerics.scalar_law import RadialLaw
from numerics.schedule import Constant
from numerics.sgd import Noise, RadialSGD, simulate
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
