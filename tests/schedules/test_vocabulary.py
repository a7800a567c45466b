"""Our learning rates against torch's, optax's and transformers' own, to 1e-12; warm-up conventions told apart."""

import numpy as np
import pytest

from numerics.errors import InputError
from numerics.schedule import Constant, Cosine, Linear, StepDecay, WarmupStableDecay

torch = pytest.importorskip("torch")
lr = torch.optim.lr_scheduler

ETA, TOTAL = 0.37, 120
SHAPES = ("linear", "cosine", "1-sqrt")


def torch_rates(make, steps=TOTAL):
    """The rates that a torch scheduler sets, step by step."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=ETA)
    scheduler = make(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(found)


def joined(optimizer, warmup, stable, decay, final):
    """torch's own way to a WSD with linear cooldown."""
    parts = [
        lr.LinearLR(optimizer, 1 / warmup, 1.0, warmup - 1),
        lr.ConstantLR(optimizer, 1.0, 1),
        lr.LinearLR(optimizer, 1.0, final, decay),
    ]
    return lr.SequentialLR(optimizer, parts, [warmup, warmup + stable])


TORCH = {
    "constant": (Constant(ETA), lambda o: lr.LambdaLR(o, lambda k: 1.0)),
    "step": (StepDecay(ETA, 40, 10), lambda o: lr.StepLR(o, 40, 0.1)),
    "steps": (StepDecay(ETA, (30, 90), 4), lambda o: lr.MultiStepLR(o, [30, 90], 0.25)),
    "cosine": (Cosine(ETA, TOTAL, 0.02), lambda o: lr.CosineAnnealingLR(o, TOTAL, 0.02)),
    "linear": (Linear(ETA, TOTAL, 0.037), lambda o: lr.LinearLR(o, 1.0, 0.1, TOTAL)),
    "wsd": (WarmupStableDecay(ETA, TOTAL, 10, 30, 0.037), lambda o: joined(o, 10, 80, 30, 0.1)),
}


@pytest.mark.parametrize("name", TORCH)
def test_our_rates_are_torchs_own(name):
    if name == "step":  # StepLR goes on decaying: only its first two stages are late decay
        assert np.abs(torch_rates(TORCH[name][1], 80) - TORCH[name][0](np.arange(80))).max() < 1e-12
        return
    ours, theirs = TORCH[name]
    with np.errstate(all="ignore"):
        found = torch_rates(theirs)
    assert np.abs(found - ours(np.arange(TOTAL))).max() < 1e-12


@pytest.fixture
def jax64():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", False)


def optax_twins(optax):
    warm = optax.join_schedules(
        [optax.linear_schedule(0.0, ETA, 10), optax.constant_schedule(ETA), optax.cosine_decay_schedule(ETA, 30, 0.1)],
        [10, 90],
    )
    return [
        (Constant(ETA), optax.constant_schedule(ETA)),
        (StepDecay(ETA, (30, 90), 4), optax.piecewise_constant_schedule(ETA, {30: 0.25, 90: 0.25})),
        (Cosine(ETA, TOTAL, 0.037), optax.cosine_decay_schedule(ETA, TOTAL, 0.1)),
        (Linear(ETA, TOTAL, 0.037), optax.linear_schedule(ETA, 0.037, TOTAL)),
        (WarmupStableDecay(ETA, TOTAL, 10, 30, 0.037, "cosine", warmup_from_zero=True), warm),
    ]


def test_our_rates_are_optaxs_own_and_the_adapter_gives_them_inside_jit(jax64):
    optax = pytest.importorskip("optax")
    from numerics.schedules.with_optax import to_optax

    for ours, theirs in optax_twins(optax):
        compiled = jax64.jit(to_optax(ours))
        for k in range(TOTAL):
            assert float(theirs(k)) == pytest.approx(float(ours(k)), abs=1e-12)
            assert float(compiled(k)) == pytest.approx(float(ours(k)), abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("from_zero", [False, True])
def test_the_optax_adapter_knows_every_shape_and_warm_up(jax64, shape, from_zero):
    from numerics.schedules.with_optax import to_optax

    ours = WarmupStableDecay(ETA, TOTAL, 20, 60, 0.01, shape, warmup_from_zero=from_zero)
    found = to_optax(ours)(np.arange(TOTAL + 5))
    assert np.abs(np.asarray(found) - ours(np.arange(TOTAL + 5))).max() < 1e-12


@pytest.mark.parametrize("shape", SHAPES)
def test_our_wsd_is_that_of_transformers(shape):
    optimization = pytest.importorskip("transformers.optimization")

    ours = WarmupStableDecay(ETA, TOTAL, 10, 30, 0.0, shape, warmup_from_zero=True)
    found = torch_rates(  # with a min_lr_ratio they warm up from it, not from zero
        lambda o: optimization.get_wsd_schedule(
            o, num_warmup_steps=10, num_decay_steps=30, num_training_steps=TOTAL, decay_type=shape
        )
    )
    assert np.abs(found - ours(np.arange(TOTAL))).max() < 1e-12


def test_the_two_warm_ups_differ_by_one_step():
    ours, zero = (WarmupStableDecay(1.0, 50, 10, 0, 0.0, warmup_from_zero=flag) for flag in (False, True))
    assert ours(0) == 0.1
    assert zero(0) == 0.0
    assert np.array_equal(ours(np.arange(9)), zero(np.arange(1, 10)))
    assert zero.breakpoints == (10, 50)


def test_an_unknown_schedule_is_refused_by_the_adapter():
    pytest.importorskip("jax")
    from numerics.schedules.with_optax import to_optax

    with pytest.raises(InputError, match=r"schedule = function is not one of numerics\.schedule"):
        to_optax(lambda k: 0.1)
