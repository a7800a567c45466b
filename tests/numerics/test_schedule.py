"""Schedules against a step-by-step telling of each, and every refusal."""

import math
from itertools import pairwise

import numpy as np
import pytest

from numerics.errors import InputError
from numerics.schedule import Constant, Cosine, Linear, StepDecay, WarmupStableDecay

STEPS = np.arange(130)


def told_step_decay(k, eta, decay_at, factor):
    for step in decay_at:
        if k >= step:
            eta = eta / factor
    return eta


def told_decay(s, shape):
    return {"linear": 1 - s, "cosine": (1 + math.cos(math.pi * s)) / 2, "1-sqrt": 1 - math.sqrt(s)}[shape]


def told_wsd(k, eta, total, warmup, decay, final, shape):
    if k >= total:
        return final
    if k < warmup:
        return eta * (k + 1) / warmup
    if k < total - decay:
        return eta
    return final + (eta - final) * told_decay((k - total + decay) / decay, shape)


CASES = {
    "constant": (Constant(0.3), lambda k: 0.3),
    "late decay": (StepDecay(0.4, 50, 10.0), lambda k: 0.4 if k < 50 else 0.04),
    "three decays": (StepDecay(0.4, (3, 50, 99), 4), lambda k: told_step_decay(k, 0.4, (3, 50, 99), 4)),
    "decay at once": (StepDecay(0.4, 0, 2), lambda k: 0.2),
    "cosine": (Cosine(0.4, 100, 0.1), lambda k: told_wsd(k, 0.4, 100, 0, 100, 0.1, "cosine")),
    "linear": (Linear(0.4, 100, 0.0), lambda k: told_wsd(k, 0.4, 100, 0, 100, 0.0, "linear")),
} | {
    f"wsd {warmup}+{decay} {shape}": (
        WarmupStableDecay(0.4, 100, warmup, decay, 0.01, shape),
        lambda k, w=warmup, d=decay, s=shape: told_wsd(k, 0.4, 100, w, d, 0.01, s),
    )
    for shape in ("linear", "cosine", "1-sqrt")
    for warmup, decay in ((0, 0), (1, 30), (10, 0), (10, 30), (40, 60))
}
each_case = pytest.mark.parametrize(("schedule", "told"), CASES.values(), ids=CASES)


@each_case
def test_the_closed_form_is_the_schedule_told_step_by_step(schedule, told):
    rates = schedule(STEPS)
    assert rates.dtype == np.float64
    np.testing.assert_allclose(rates, [told(int(k)) for k in STEPS], rtol=1e-13, atol=1e-16)


@each_case
def test_one_step_and_many_agree_and_eta_is_the_largest(schedule, told):
    rates = schedule(STEPS)
    assert all(schedule(int(k)).shape == () and schedule(int(k)) == rates[k] for k in STEPS)
    assert rates.max() <= schedule.eta
    assert schedule(STEPS.reshape(2, -1)).shape == (2, 65)


@each_case
def test_between_breakpoints_the_schedule_is_smooth(schedule, told):
    """Second differences of step size h fall like h^2 inside a piece, however close to its ends."""
    ends = [0.0, *schedule.breakpoints, 130.0]
    for low, high in pairwise(ends):
        k = low + (high - low) * np.linspace(0.1, 0.9, 9)
        h = 1e-2 * (high - low)
        bend = schedule(k + h) - 2 * schedule(k) + schedule(k - h)
        assert np.abs(bend).max() < 20 * schedule.eta * 1e-4


def test_breakpoints_are_the_steps_where_something_changes():
    assert Constant(1.0).breakpoints == ()
    assert StepDecay(1.0, (0, 5, 9), 2).breakpoints == (5, 9)
    assert Cosine(1.0, 7, 0).breakpoints == Linear(1.0, 7, 0).breakpoints == (7,)
    assert WarmupStableDecay(1.0, 100, 10, 30, 0.1).breakpoints == (9, 70, 100)
    assert WarmupStableDecay(1.0, 100, 0, 0, 0.1).breakpoints == (100,)


def test_the_decay_step_itself_is_the_first_at_the_small_rate():
    assert list(StepDecay(1.0, 3, 10)(np.array([2, 3]))) == [1.0, 0.1]


def test_fractions_are_rounded_to_steps():
    schedule = WarmupStableDecay.from_fractions(0.4, 1000, 0.05, 0.2, 0.0, "cosine")
    assert schedule == WarmupStableDecay(0.4, 1000, 50, 200, 0.0, "cosine")
    halves = WarmupStableDecay.from_fractions(0.4, 7, 0.5, 0.5, 0.0)
    assert halves.warmup + halves.decay == 7


REFUSED = [
    (lambda: Constant(0.0), "eta = 0 is not a positive number; give eta > 0"),
    (lambda: Constant(math.nan), "eta = nan is not a positive number"),
    (lambda: StepDecay(-0.1, 5, 10), "eta = -0.1 is not a positive number"),
    (lambda: StepDecay(0.1, 5, 0.5), "decay factor = 0.5 would not lower eta; give a factor of at least 1"),
    (lambda: StepDecay(0.1, -5, 2), "decay_at = -5 is not a number of steps; give a whole number, 0 or more"),
    (lambda: StepDecay(0.1, 5.5, 2), "decay_at = 5.5 is not a number of steps"),
    (lambda: StepDecay(0.1, (9, 5), 2), "decay_at = (9, 5) is not increasing; list each decay step once, in order"),
    (lambda: StepDecay(0.1, (5, 5), 2), "decay_at = (5, 5) is not increasing"),
    (lambda: StepDecay(0.1, 100, 2, total=100), "decay_at = 100 lies outside the budget of 100 steps; decay earlier"),
    (lambda: Cosine(0.1, 0, 0.0), "total steps = 0 is not a positive number"),
    (lambda: Cosine(0.1, 10, 0.2), "final eta = 0.2 is not between 0 and eta = 0.1; lower it, or raise eta"),
    (lambda: Linear(0.1, 10, -0.2), "final eta = -0.2 is not between 0 and eta = 0.1"),
    (lambda: Linear(0.1, -10, 0), "total steps = -10 is not a number of steps"),
    (
        lambda: WarmupStableDecay(0.1, 100, 60, 50, 0.0),
        "warmup = 60 overlaps the decay of 50 steps in a budget of 100;",
    ),
    (lambda: WarmupStableDecay(0.1, 100, -1, 50, 0.0), "warmup = -1 is not a number of steps"),
    (lambda: WarmupStableDecay(0.1, 100, 1, -50, 0.0), "decay = -50 is not a number of steps"),
    (
        lambda: WarmupStableDecay(0.1, 100, 1, 5, 0.0, "sqrt"),
        "shape = sqrt is not a known decay; choose one of linear, cos",
    ),
    (
        lambda: WarmupStableDecay.from_fractions(0.1, 100, 1.5, 0, 0.0),
        "warmup = 1.5 is not a fraction of the budget; give",
    ),
    (
        lambda: WarmupStableDecay.from_fractions(0.1, 100, 0.6, 0.5, 0),
        "warmup = 0.6 overlaps the decay fraction 0.5; let",
    ),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_an_impossible_schedule_is_refused_in_one_line(make, message):
    with pytest.raises(InputError) as refusal:
        make()
    assert message in str(refusal.value)
