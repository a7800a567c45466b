"""`LateDecay` and its monitor: closed form, exact resume, decisions on runs whose truth is known, every refusal."""

import io
import math
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numerics.errors import InputError  # noqa: E402
from numerics.schedule import WarmupStableDecay  # noqa: E402
from numerics.schedules.controller import OVERHEAD, Controller  # noqa: E402
from numerics.schedules.late_decay import LateDecay  # noqa: E402
from numerics.schedules.monitor import BLOCKS, LossRecord, TraceRecord  # noqa: E402
from numerics.schedules.probe import TraceProbe  # noqa: E402
from numerics.schedules.rule import Rule  # noqa: E402

torch.set_num_threads(1)


def small_run(rule, seed=0, probed=True, momentum=0.9):
    """Model, optimizer, scheduler and a function that takes step k on label-noise data."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    x = torch.randn(30, 6)
    y = x[:, :1].sin()
    optimizer = torch.optim.SGD(
        [{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 0.01}], lr=0.02, momentum=momentum
    )
    probe = TraceProbe(model, x[:10], "squared", 30, probes=1) if probed else None
    scheduler = LateDecay(optimizer, rule, probe=probe)

    def take(k):
        noise = torch.Generator().manual_seed(1000 + k)
        rows = torch.randint(30, (10,), generator=noise)
        loss = 0.5 * (model(x[rows]) - y[rows] - 0.3 * torch.randn(10, 1, generator=noise)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.observe(loss)
        scheduler.step()

    return model, optimizer, scheduler, take


def rates(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


@pytest.mark.parametrize("shape", ["linear", "cosine", "1-sqrt"])
def test_with_a_budget_the_rates_are_the_closed_form_and_use_all_of_it(shape):
    rule = Rule(total=400, warmup=20, shape=shape, final=0.01)
    _, optimizer, scheduler, take = small_run(rule)
    found = []
    for k in range(400):
        found.append(rates(optimizer))
        take(k)
    decay_at, cooldown = scheduler.controller.decay_at, scheduler.controller.cooldown
    assert decay_at + cooldown == 400
    assert rule.shortest * 400 <= cooldown <= rule.longest * 400
    told = WarmupStableDecay(1.0, 400, 20, cooldown, 0.01, shape)(np.arange(400))
    np.testing.assert_allclose(np.array(found), told[:, None] * np.array([0.02, 0.01]), rtol=1e-13)
    assert scheduler.phase == "done"


def snapshot(model, optimizer, scheduler):
    stream = io.BytesIO()
    torch.save({"m": model.state_dict(), "o": optimizer.state_dict(), "s": scheduler.state_dict()}, stream)
    return stream.getvalue()


def test_a_run_resumed_at_every_step_goes_on_with_the_same_bits():
    rule = Rule(total=220, warmup=5)
    model, optimizer, scheduler, take = small_run(rule)
    saved = []
    for k in range(220):
        saved.append(snapshot(model, optimizer, scheduler))
        take(k)
    saved.append(snapshot(model, optimizer, scheduler))
    assert scheduler.controller.traces.steps == [100]
    for k in range(220):
        model, optimizer, scheduler, take = small_run(rule)
        state = torch.load(io.BytesIO(saved[k]), weights_only=True)
        model.load_state_dict(state["m"])
        optimizer.load_state_dict(state["o"])
        scheduler.load_state_dict(state["s"])
        take(k)
        assert snapshot(model, optimizer, scheduler) == saved[k + 1], k


def test_resuming_sets_the_rate_whatever_the_optimizer_held():
    rule = Rule(total=100)
    _, optimizer, scheduler, take = small_run(rule, probed=False)
    for k in range(90):
        take(k)
    wanted, state = rates(optimizer), scheduler.state_dict()
    _, fresh, resumed, _ = small_run(rule, probed=False)
    resumed.load_state_dict(state)
    assert rates(fresh) == wanted == resumed.get_last_lr()


def run_controller(losses, traces=None, **rule):
    controller = Controller(Rule(**rule), eta=0.1, residuals=100, probes=1 if traces else 0)
    for k, loss in enumerate(losses):
        controller.advance(float(loss))
        if traces and controller.probe_due:
            controller.measured([float(traces(k))])
    return controller


def noisy_floor(steps, seed):
    """Phase I of 300 steps on top of a noisy floor."""
    draw = np.random.default_rng(seed)
    k = np.arange(steps)
    return 5 * np.exp(-k / 60) + 0.5 * (1 + 0.4 * draw.standard_normal(steps))


@pytest.mark.parametrize("seed", range(5))
def test_the_end_of_phase_one_is_seen_neither_early_nor_never(seed):
    controller = run_controller(noisy_floor(3000, seed), total=10_000)
    assert controller.phase == "II"
    assert 150 < controller.phase_one_end < 1500


@pytest.mark.parametrize("seed", range(5))
def test_a_loss_that_still_falls_stays_in_phase_one(seed):
    draw = np.random.default_rng(seed)
    k = np.arange(3000)
    controller = run_controller((1 + k / 50) ** -1.0 * (1 + 0.3 * draw.standard_normal(3000)), total=10_000)
    assert controller.phase == "I"


def test_without_noise_the_monitor_says_that_nothing_is_to_be_gained_and_does_not_decay():
    controller = run_controller(np.exp(-np.arange(2000) / 40), traces=lambda k: 10.0)
    assert controller.decay_at is None
    assert controller.verdict.startswith("no gradient noise survives")


def test_without_a_budget_the_decay_comes_when_the_drift_is_over_and_not_before():
    def trace(k):
        return 1 + 4 * math.exp(-k / 4000)

    controller = run_controller(noisy_floor(60_000, 0), traces=trace, tolerance=0.02)
    assert controller.phase in ("cooldown", "done")
    gain = 1 - trace(2 * controller.decay_at) / trace(controller.decay_at)
    assert gain < 0.02
    assert 15_000 < controller.decay_at < 50_000  # the trend of the last half lags behind an exponential
    early = run_controller(noisy_floor(4000, 0), traces=trace, tolerance=0.02)
    assert early.decay_at is None
    assert early.verdict.endswith("waiting pays")


def test_told_to_decay_it_begins_with_the_next_step_and_once_only():
    _, optimizer, scheduler, take = small_run(Rule(tolerance=0.05))
    for k in range(130):
        take(k)
    scheduler.decay_now()
    assert scheduler.controller.decay_at == 130
    length = scheduler.controller.cooldown
    assert 13 <= length <= 52  # a tenth to two fifths of the steps so far
    take(130)
    scheduler.decay_now()
    for k in range(131, 130 + length):
        take(k)
    assert (scheduler.controller.decay_at, scheduler.controller.cooldown) == (130, length)
    assert rates(optimizer) == [0.0, 0.0]


def test_a_drifting_power_law_never_decays():
    controller = run_controller(noisy_floor(20_000, 1), traces=lambda k: (1 + k) ** -0.3, tolerance=0.05)
    assert controller.decay_at is None
    assert controller.traces.gain().value == pytest.approx(0.3 * math.log(2), rel=1e-9)  # step^-0.3: rounding alone


def test_the_gains_bound_covers_the_truth_in_19_of_20_records():
    draw, covered = np.random.default_rng(0), 0
    for _ in range(400):
        record = TraceRecord()
        for step in np.geomspace(1000, 4000, 16).astype(int):
            record.add(int(step), list(step**-0.2 * np.exp(0.05 * draw.standard_normal(1))))
        covered += record.gain().upper > 0.2 * math.log(2)
    assert 0.90 < covered / 400 < 0.99  # binomial around 0.95: 5 standard errors are 0.055


def test_the_loss_record_stays_small_and_its_blocks_are_means():
    record, losses = LossRecord(), np.random.default_rng(0).random(10_000)
    for loss in losses:
        record.add([float(loss)])
    assert len(record.means) < BLOCKS
    told = losses[: len(record.means) * record.length].reshape(-1, record.length).mean(axis=1)
    np.testing.assert_allclose(record.means, told, rtol=1e-12)


def test_probing_costs_at_most_its_share_of_the_gradients():
    for probes in (1, 4, 16):
        controller = Controller(Rule(total=200_000), eta=0.1, residuals=100, probes=probes)
        for _ in range(50_000):
            controller.advance(1.0)
            if controller.probe_due:
                controller.measured([1.0] * probes)
        assert probes * len(controller.traces.steps) <= OVERHEAD * 50_000


def test_the_cooldown_is_as_long_as_relaxation_takes():
    rule = Rule(total=10_000, shape="linear", foldings=8, shortest=0.01, longest=0.5)
    assert rule.cooldown(100.0, 0) == 1600  # a linear cooldown spends half its length's worth of relaxation
    assert rule.cooldown(1.0, 0) == 100
    assert rule.cooldown(1e9, 0) == rule.cooldown(None, 0) == 5000
    quick = run_controller(noisy_floor(9000, 0), traces=lambda k: 100.0, total=10_000, shape="linear", longest=0.5)
    assert quick.relaxation == pytest.approx(10.0)
    assert quick.cooldown == 1000


def test_adam_has_no_relaxation_time():
    model = torch.nn.Linear(3, 1)
    probe = TraceProbe(model, torch.randn(5, 3), "squared", 5)
    scheduler = LateDecay(torch.optim.Adam(model.parameters()), Rule(total=100), probe=probe)
    scheduler.controller.measured([1.0])
    assert scheduler.controller.relaxation is None


def test_a_run_that_shows_no_loss_is_told_so():
    _, optimizer, scheduler, _ = small_run(Rule(total=50), probed=False)
    optimizer.step()
    scheduler.step()
    assert "observe(loss)" in scheduler.verdict


REFUSED_RULES = [
    (dict(total=100, warmup=61), "warmup = 61 overlaps the cooldown of up to 40 steps in a budget of 100"),
    (dict(total=0.5), "total = 0.5 is a fraction, not a number of steps"),
    (dict(total=-3), "total = -3 is not a number of steps"),
    (dict(warmup=2.5), "warmup = 2.5 is not a number of steps"),
    (dict(shape="sqrt"), "shape = sqrt is not a known decay; choose one of linear, cosine, 1-sqrt"),
    (dict(final=1.5), "final = 1.5 is not a fraction of the learning rate"),
    (dict(tolerance=0), "tolerance = 0 is not positive"),
    (dict(foldings=-1), "foldings = -1 is not positive"),
    (dict(shortest=0.5, longest=0.2), "shortest cooldown = 0.5 and longest = 0.2 are not fractions in this order"),
]


@pytest.mark.parametrize(("rule", "message"), REFUSED_RULES, ids=[message[:30] for _, message in REFUSED_RULES])
def test_an_impossible_rule_is_refused(rule, message):
    with pytest.raises(InputError) as refusal:
        Rule(**rule)
    assert message in str(refusal.value)


def test_an_open_end_needs_curvature():
    with pytest.raises(InputError, match="leaves the decay to the monitor, which has no curvature to go by"):
        small_run(Rule(), probed=False)


def test_stepping_once_per_epoch_is_named():
    _, optimizer, scheduler, take = small_run(Rule(total=100), probed=False)
    take(0)
    for _ in range(7):
        optimizer.step()
    with pytest.raises(InputError, match=r"optimizer steps between two scheduler steps = 7 says .* once per epoch"):
        scheduler.step()


def test_an_epoch_number_is_refused():
    _, _, scheduler, take = small_run(Rule(total=100), probed=False)
    take(0)
    with pytest.raises(InputError, match="epoch = 3 was given to a schedule that counts optimizer steps, not epochs"):
        scheduler.step(3)


def test_a_step_past_the_budget_is_refused():
    _, _, _, take = small_run(Rule(total=10), probed=False)
    for k in range(10):
        take(k)
    with pytest.raises(
        InputError, match="step = 11 lies outside the budget of 10 steps; count the budget in optimizer"
    ):
        take(10)


@pytest.mark.parametrize("change", [{"total": 101}, {"shape": "linear"}, {"warmup": 1}])
def test_the_state_of_another_schedule_is_refused_by_hash(change):
    _, _, scheduler, take = small_run(Rule(total=100), probed=False)
    take(0)
    _, _, other, _ = small_run(Rule(**({"total": 100} | change)), probed=False)
    with pytest.raises(InputError, match="is that of another schedule"):
        other.load_state_dict(scheduler.state_dict())


def test_the_state_of_a_torch_scheduler_is_refused():
    _, optimizer, scheduler, _ = small_run(Rule(total=100), probed=False)
    with pytest.raises(InputError, match="scheduler state = none is that of another schedule"):
        scheduler.load_state_dict(torch.optim.lr_scheduler.StepLR(optimizer, 3).state_dict())


def monitored_share(width, batch, steps, looks):
    """CPU time inside observe and step, probes and mean included, over that of the whole run; less the clock's own."""
    torch.manual_seed(0)
    layers = [torch.nn.Linear(64, width), torch.nn.ReLU(), torch.nn.Linear(width, width), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(width, 10))
    x, y = torch.randn(1000, 64), torch.randint(10, (1000,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    probe = TraceProbe(model, x[:batch], "cross-entropy", 1000)
    scheduler = LateDecay(optimizer, Rule(total=2 * steps), probe=probe, looks=looks)
    clock = time.thread_time
    inside, reading, begin = 0.0, 0.0, clock()
    for _ in range(steps):
        rows = torch.randint(1000, (batch,))
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
        entered = clock()
        empty = clock()
        scheduler.observe(loss)
        scheduler.step()
        inside += clock() - empty
        reading += empty - entered
    return (inside - reading) / (clock() - begin - 2 * reading)


@pytest.mark.full
@pytest.mark.parametrize("looks", [False, True], ids=["blind", "with a mean of the weights"])
@pytest.mark.parametrize(("width", "batch", "steps"), [(16, 8, 6000), (64, 64, 4000), (512, 256, 800)])
def test_the_scheduler_costs_at_most_three_percent_of_the_training_time(width, batch, steps, looks, capsys):
    monitored_share(16, 8, 500, looks)  # imports and caches
    share = monitored_share(width, batch, steps, looks)
    with capsys.disabled():
        print(f"\nLateDecay on 2 x {width}, batch {batch}, looks {looks}: {share:.2%} of the CPU time")
    assert share < 0.03
