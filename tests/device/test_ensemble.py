"""An ensemble on a device takes the steps that numba takes: same addresses, same draws, same path to rounding."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numerics.device.triton_engine import interpreting  # noqa: E402
from tests.device.systems import FAR, by_numba, cells, ensemble, model  # noqa: E402

LONG = 1000
REPLICAS = [3, 10, FAR]

#: what Triton's interpreter can do in seconds; compiled code and torch take the long way
SHORT = 6 if interpreting() else LONG


def discrepancy(ours, theirs):
    return np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs))


def test_radial_path_is_numbas_to_1e_10_over_a_thousand_steps(pytestconfig, device, engine):
    """A hundred where Triton is interpreted, a thousand there with --full."""
    simulator, start = model("radial", 3)
    steps = 100 if interpreting() and not pytestconfig.getoption("--full") else LONG
    settings = cells(simulator, start, 3)
    found = ensemble(simulator, settings, REPLICAS, device, engine)
    found.advance(steps)
    expected = by_numba(simulator, settings, REPLICAS, steps)
    assert discrepancy(found.states(), expected) < 1e-10
    assert discrepancy(expected, settings.starts) > 1e-3  # they went somewhere


@pytest.mark.parametrize(
    ("name", "depth", "batch"),
    [
        *(("radial", 1, 2), ("radial", 2.5, 3), ("radial", 2, 4)),
        *(("coordinatewise", 3, 1), ("coordinatewise", 2.5, 2), ("diagonal-difference", 3, 3)),
        *(("diagonal-product", 3, 1), ("sinh", 3, 2), ("tanh", 3, 1)),
    ],
)
def test_path_is_numbas_for_every_parametrization(device, engine, name, depth, batch):
    simulator, start = model(name, depth)
    settings = cells(simulator, start, 3)
    found = ensemble(simulator, settings, REPLICAS, device, engine, batch=batch)
    found.advance(SHORT)
    assert discrepancy(found.states(), by_numba(simulator, settings, REPLICAS, SHORT, batch=batch)) < 1e-10


def test_both_engines_agree_on_a_power_that_has_no_roots(device):
    """Exponents that are no quarters: exp and log in a kernel, torch's own power elsewhere (test_dialects.py)."""
    if device.type == "cpu" and not interpreting():
        pytest.skip("Triton on the CPU: interpreted by test_triton.py")
    simulator, start = model("radial", 2.171)
    found = [ensemble(simulator, cells(simulator, start, 3), REPLICAS, device, one) for one in ("torch", "triton")]
    for one in found:
        one.advance(SHORT)
    assert discrepancy(*(one.states() for one in found)) < 1e-10


@pytest.mark.parametrize(("name", "n", "d"), [("radial", 1, 5), ("radial", 17, 40), ("coordinatewise", 1, 3)])
def test_path_is_numbas_at_odd_sizes(device, engine, name, n, d):
    """Tiles are padded to powers of two; a size of 1 is a special case of Triton's."""
    simulator, start = model(name, 3, n=n, d=d)
    settings = cells(simulator, start, 3)
    found = ensemble(simulator, settings, REPLICAS, device, engine)
    found.advance(11)
    assert discrepancy(found.states(), by_numba(simulator, settings, REPLICAS, 11)) < 1e-10


@pytest.mark.parametrize("name", ["radial", "coordinatewise"])
@pytest.mark.parametrize("batch", [1, 3])
def test_steps_do_not_depend_on_how_they_are_cut_into_calls(device, engine, name, batch):
    """An odd number of samples before a call begins in the middle of a block of two."""
    simulator, start = model(name)
    settings = cells(simulator, start, 2)
    whole, cut = (ensemble(simulator, settings, [0, 1], device, engine, batch=batch) for _ in range(2))
    whole.advance(12)
    for steps in (1, 4, 5, 2):
        cut.advance(steps)
    assert np.array_equal(whole.states(), cut.states())


def test_a_replica_does_not_depend_on_its_company(device, engine):
    simulator, start = model("radial")
    few, many = cells(simulator, start, 1), cells(simulator, start, 1)
    alone = ensemble(simulator, few, [5], device, engine)
    crowd = ensemble(simulator, many, np.arange(5, 205), device, engine)
    for one in (alone, crowd):
        one.advance(10)
    assert np.array_equal(alone.states(), crowd.states(0, 1))
    assert len(np.unique(crowd.states()[:, 0])) == 200


def test_a_replica_that_diverges_becomes_nan_and_the_others_go_on(device, engine):
    simulator, start = model("radial")
    settings = cells(simulator, start, 2)
    settings.etas[1] = 50.0
    found = ensemble(simulator, settings, [0, 1, 2, 3], device, engine)
    found.advance(20)
    states = found.states()
    assert np.all(np.isnan(states[2:]))
    assert discrepancy(states[:2], by_numba(simulator, settings, [0, 1, 2, 3], 20)[:2]) < 1e-10


def test_a_limit_of_its_own_for_every_cell(device, engine):
    simulator, start = model("diagonal-product")
    settings = cells(simulator, start, 2)
    settings.limits[0] = 1e-6
    found = ensemble(simulator, settings, [0, 1], device, engine)
    found.advance(2)
    assert np.all(np.isnan(found.states()[0]))
    assert np.all(np.isfinite(found.states()[1]))


def test_float32_stays_near_float64(device, engine):
    """Rounding of |u|^2 adds up: 1.4e-7 measured after 12 steps, 8e-7 after 1000, 6e-6 after 10 000 (relative)."""
    simulator, start = model("radial")
    settings = cells(simulator, start, 3)
    found = ensemble(simulator, settings, REPLICAS, device, engine, precision="float32")
    found.advance(SHORT)
    error = discrepancy(found.states(), by_numba(simulator, settings, REPLICAS, SHORT))
    assert 1e-9 < error < 1e-5


def test_other_streams_give_the_same_statistics(device):
    """Own draws: the mean train loss of numba's replicas 0..999 and of the device's 1000..1999 agree within 4 s.e.

    False alarm 6e-5; a bias of 30 % in the noise's variance would be 6 s.e. off.
    """
    simulator, start = model("radial")
    settings = cells(simulator, start, 1)
    found = ensemble(simulator, settings, np.arange(1000, 2000), device, "auto")
    found.advance(300)
    ours = simulator.observe(found.states())["loss"]
    theirs = simulator.observe(by_numba(simulator, settings, np.arange(1000), 300))["loss"]
    error = np.hypot(np.std(ours), np.std(theirs)) / np.sqrt(1000)
    assert abs(np.mean(ours) - np.mean(theirs)) < 4 * error
    assert 0.3 * np.mean(theirs) > 6 * error
