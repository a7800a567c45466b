"""Looks at held-out data: taken at the mean weights, a turn is seen, and the decay that follows is the shortest."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numerics.errors import InputError  # noqa: E402
from numerics.schedules.average import HORIZON, RunningMean, interval, share  # noqa: E402
from numerics.schedules.controller import Controller  # noqa: E402
from numerics.schedules.late_decay import LateDecay  # noqa: E402
from numerics.schedules.monitor import PATIENCE, HeldOutRecord  # noqa: E402
from numerics.schedules.rule import Rule  # noqa: E402


def first_turn(values):
    """The first look at which a record calls a turn, or None."""
    record = HeldOutRecord()
    for k, value in enumerate(values):
        record.add(float(value))
        if record.turned:
            return k
    return None


def test_a_turn_is_seen_as_many_looks_later_as_patience_says():
    assert first_turn(np.abs(np.arange(60) - 3.0)) == 3 + PATIENCE
    assert first_turn(np.abs(np.arange(60) - 28.0)) == 28 + 8  # a fifth of 37 looks is 7.4


def test_a_loss_that_keeps_falling_never_turns():
    assert first_turn(1 / (1 + np.arange(200))) is None


def test_a_loss_that_is_not_finite_is_no_least():
    assert first_turn([1.0, np.nan, np.nan, np.nan, np.nan]) == PATIENCE
    assert first_turn([np.nan, 3.0, 2.0, 1.0]) is None


def turned(total):
    controller = Controller(Rule(total=total, shortest=0.1), eta=0.1, residuals=None, probes=0)
    for k in range(1000):
        controller.advance(1.0)
        if (k + 1) % 20 == 0:
            controller.looked(1.0 + 0.01 * abs(k - 399) / 100)
    return controller


def test_the_decay_begins_at_once_is_the_shortest_and_the_rate_stays_down():
    controller = turned(1000)
    assert controller.decay_at == 400 + 5 * 20  # 5 looks: a fifth of 25
    assert controller.cooldown == round(0.1 * controller.decay_at)
    assert controller.phase == "done"
    assert controller.factor == 0.0
    told = f"the held-out loss of the mean weights had stopped falling: decay at step {controller.decay_at}"
    assert controller.verdict == told


def test_it_never_outlasts_the_budget():
    rule = Rule(total=1000, shortest=0.4, longest=0.4)
    assert rule.cooldown(0.0, 800, budgeted=False) == 200


def test_looks_are_part_of_the_state():
    controller = turned(1000)
    other = Controller(controller.rule, eta=0.1, residuals=None, probes=0)
    other.restore(controller.state())
    assert other.state() == controller.state()
    assert other.held_out.values == controller.held_out.values


def test_the_running_mean_forgets_exponentially_over_a_tenth_of_the_run():
    weight = torch.zeros(3)
    mean, told = RunningMean([weight]), None
    for step in range(1, 3001):
        weight.fill_(float(step))
        if step >= mean.next:
            told = step if told is None else told + share(step, step - mean.step) * (step - told)
            mean.sample(step)
    np.testing.assert_allclose(mean.values[0].numpy(), told, rtol=1e-5)
    lag = 3000 - told  # a ramp is followed at the distance of the memory: step - lag with lag = HORIZON (step - lag)
    strides = 0.05  # of the lag: it forgets in strides of an eighth of the memory
    assert lag == pytest.approx(3000 * HORIZON / (1 + HORIZON), rel=strides)
    assert interval(3000) == 37


def test_the_mean_of_a_fluctuation_is_less_noisy_than_the_weights():
    draw, weight = torch.Generator().manual_seed(0), torch.zeros(1000)
    mean = RunningMean([weight])
    for step in range(1, 2001):
        weight.copy_(torch.randn(1000, generator=draw))
        if step >= mean.next:
            mean.sample(step)
    # exponential forgetting with share a keeps a/(2 - a) of the variance; 1000 weights: relative error 0.045 per sigma
    kept = share(2000, interval(2000)) / (2 - share(2000, interval(2000)))
    assert float(mean.values[0].square().mean()) == pytest.approx(kept, rel=5 * 0.045)


def small():
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return model, optimizer, LateDecay(optimizer, Rule(total=300), looks=True)


def take(model, optimizer, scheduler, k, seen):
    """One step on noisy labels; a look every 10 steps."""
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(k))
    loss = (model(x)[:, 0] - x.sum(1) - torch.randn(5, generator=torch.Generator().manual_seed(1000 + k))).square()
    optimizer.zero_grad()
    loss.mean().backward()
    optimizer.step()
    scheduler.observe(loss.mean())
    scheduler.step()
    if (k + 1) % 10 == 0:
        held = torch.ones(1, 4)
        seen.append(scheduler.look(lambda: (model(held) - 4.0).square().mean()))


def test_a_look_sees_the_mean_weights_and_leaves_the_weights_alone_even_where_it_fails():
    model, optimizer, scheduler = small()
    for k in range(25):
        take(model, optimizer, scheduler, k, [])
    own, inside = model.weight.detach().clone(), []
    scheduler.look(lambda: inside.append(model.weight.detach().clone()) or 1.0)
    assert torch.equal(model.weight, own)
    assert not torch.equal(inside[0], own)
    with pytest.raises(ZeroDivisionError):
        scheduler.look(lambda: 1 / 0)
    assert torch.equal(model.weight, own)


def test_a_run_with_looks_resumes_with_the_same_bits():
    model, optimizer, scheduler = small()
    told = []
    for k in range(150):
        take(model, optimizer, scheduler, k, told)
        if k in (56, 99):
            saved = (k, model.state_dict(), optimizer.state_dict(), scheduler.state_dict())
            saved = (k, *(torch.load(_stored(part), weights_only=True) for part in saved[1:]))
            fresh, own, resumed = small()
            fresh.load_state_dict(saved[1])
            own.load_state_dict(saved[2])
            resumed.load_state_dict(saved[3])
            branches = (fresh, own, resumed, len(told))
    fresh, own, resumed, count = branches
    again = []
    for k in range(100, 150):
        take(fresh, own, resumed, k, again)
    assert again == told[count:]
    assert torch.equal(fresh.weight, model.weight)


def _stored(part):
    import io

    stream = io.BytesIO()
    torch.save(part, stream)
    stream.seek(0)
    return stream


def test_a_look_without_a_mean_is_refused():
    optimizer = torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr=0.1)
    with pytest.raises(InputError, match=r"looks = False leaves no mean weights to look at; make the scheduler with"):
        LateDecay(optimizer, Rule(total=10)).look(lambda: 1.0)
