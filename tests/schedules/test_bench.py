"""The benchmark's machinery: stacked networks against torch's own, policies against plain loops, the table's
arithmetic.
"""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numerics.errors import InputError  # noqa: E402
from numerics.networks.models import Architecture, build  # noqa: E402
from numerics.run.cli import main  # noqa: E402
from numerics.run.schedules_bench import _compared  # noqa: E402
from numerics.schedules.bench_models import StackedNetwork  # noqa: E402
from numerics.schedules.bench_policies import POLICIES, Closed  # noqa: E402
from numerics.schedules.bench_report import OURS, Result, interval, markdown, tally, verdict  # noqa: E402
from numerics.schedules.bench_tasks import TASKS, Task, load  # noqa: E402
from numerics.schedules.bench_train import Stack, train, train_schedule_free  # noqa: E402
from numerics.schedules.probe import TraceProbe  # noqa: E402

torch.set_num_threads(1)
TINY = Task("tiny", "wine", 40, "wide", "squared", "gauss", 0.3, 8, 0.01, 60)
#: rounding: 60 steps of training in float32, sums in another order; 2^-24 grows by the steps' own instability
FLOAT32 = {"rtol": 1e-3, "atol": 1e-4}
FLOAT32_SUM = 1e-4  # rounding: a squared gradient summed in another order
NAMES = [task.name for task in TASKS]


def own_module(network, theta, kind):
    """The same network as a torch module with the same weights."""
    widths = network.widths
    module = build(Architecture(kind, widths, network.activation, network.outputs), network.inputs)
    torch.nn.utils.vector_to_parameters(theta.clone(), module.parameters())
    return module


@pytest.mark.parametrize(("kind", "inputs"), [("mlp", (7,)), ("cnn", (2, 12)), ("cnn", (1, 8, 8))])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_stack_is_its_networks_one_by_one(kind, inputs, activation):
    network = StackedNetwork(inputs, (4, 6), 3, activation, kind == "cnn")
    theta = torch.as_tensor(np.stack([network.initial(seed, 1.0) for seed in range(3)])) + 0.1
    x = torch.randn(3, 5, *inputs, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    modules = [own_module(network, row, kind).double() for row in theta]
    for module, row in zip(modules, theta, strict=True):
        torch.nn.utils.vector_to_parameters(row, module.parameters())
    told = torch.stack([module(part) for module, part in zip(modules, x, strict=True)])
    torch.testing.assert_close(network(theta, x), told, rtol=1e-12, atol=1e-12)


@pytest.fixture(scope="module")
def stack():
    split = load(TINY, seed=0)
    return Stack.of(TINY, split, (3, 4), (0.02, 0.01))


def test_training_a_stack_is_torchs_sgd_seed_by_seed(stack):
    theta = train(stack, POLICIES["cosine"](stack))
    for replica, eta in enumerate(stack.rates):
        seed = replica % 2
        module = own_module(stack.model, stack.start()[replica], "mlp")
        optimizer = torch.optim.SGD(module.parameters(), lr=eta, momentum=0.9)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, TINY.steps)
        for k in range(TINY.steps):
            x, y = stack.block(k // 64)
            loss = 0.5 * (module(x[k % 64, seed]) - y[k % 64, seed]).square().sum() / TINY.batch
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        told = torch.nn.utils.parameters_to_vector(module.parameters()).detach()
        torch.testing.assert_close(theta[replica], told, **FLOAT32)


def test_schedule_free_is_the_package_of_its_authors(stack):
    package = pytest.importorskip("schedulefree")
    theta = train_schedule_free(stack, POLICIES["constant"](stack))
    for replica, eta in enumerate(stack.rates):
        module = own_module(stack.model, stack.start()[replica], "mlp")
        optimizer = package.SGDScheduleFree(module.parameters(), lr=eta / (1 - TINY.momentum), momentum=0.9)
        optimizer.train()
        for k in range(TINY.steps):
            x, y = stack.block(k // 64)
            loss = 0.5 * (module(x[k % 64, replica % 2]) - y[k % 64, replica % 2]).square().sum() / TINY.batch
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        optimizer.eval()
        told = torch.nn.utils.parameters_to_vector(module.parameters()).detach()
        torch.testing.assert_close(theta[replica], told, **FLOAT32)


def test_the_stacked_probe_is_the_probe_of_each_network(stack):
    theta = stack.start()
    x = torch.as_tensor(stack.split.x[: TINY.batch], dtype=torch.float32)
    for row, values in zip(theta, stack.traces(theta, 3), strict=True):
        probe = TraceProbe(own_module(stack.model, row, "mlp"), x, "squared", 40, probes=3)
        np.testing.assert_allclose(values, probe(), rtol=FLOAT32_SUM)


def test_equal_seeds_are_paired_under_every_policy(stack):
    short = Stack(Task(**{**vars(TINY), "steps": 3}), stack.split, stack.model, stack.seeds, stack.rates)
    ends = [train(short, POLICIES[name](short)) for name in ("constant", "WSD 10%", "late decay")]
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[0], ends[2])


def test_label_flips_have_their_probability():
    task = Task("flips", "wine", 60, "wide", "cross-entropy", "flip", 0.3, 60, 0.01, 64)
    split = load(task, seed=0)
    x, y = Stack.of(task, split, (0, 1), (0.01,)).block(0)
    clean = {tuple(np.float32(row)): label.argmax() for row, label in zip(split.x, split.y, strict=True)}
    found = [
        clean[tuple(row)] != label
        for row, label in zip(x.reshape(-1, 13).numpy(), y.argmax(-1).reshape(-1), strict=True)
    ]
    assert abs(np.mean(found) - 0.3) < 4 * np.sqrt(0.3 * 0.7 / len(found))


@pytest.mark.parametrize("task", TASKS, ids=NAMES)
def test_every_task_splits_without_overlap_and_is_standardised(task):
    if task.source in ("mnist1d",):
        pytest.importorskip("mnist1d")
    if task.source == "randhie":
        pytest.importorskip("statsmodels")
    split = load(task, seed=0)
    assert len(split.x) == task.n_train
    assert abs(split.x.mean()) < 1e-9
    if task.source in ("digits", "breast_cancer", "diabetes"):  # others hold equal rows
        rows = [row.tobytes() for part in (split.x, split.x_valid, split.x_test) for row in part]
        assert len(set(rows)) == len(rows)


def test_win_tie_and_loss_follow_the_paired_interval():
    draw = np.random.default_rng(0)
    base, noise = draw.random(10), 0.01 * draw.standard_normal(10)
    assert verdict(base - 0.1 + noise, base) == "win"
    assert verdict(base + 0.1 + noise, base) == "loss"
    assert verdict(base + noise - noise.mean(), base) == "tie"
    assert verdict(base, np.where(np.arange(10) == 3, np.nan, base)) == "win"
    assert verdict(np.full(10, np.nan), base) == "loss"
    mean, half = interval(np.array([1.0, 2.0, 3.0]))
    assert (mean, half) == (2.0, pytest.approx(4.3027 / np.sqrt(3), rel=1e-4))


def test_equals_tie_nineteen_times_in_twenty():
    draw = np.random.default_rng(1)
    ties = sum(verdict(draw.standard_normal(10), draw.standard_normal(10)) == "tie" for _ in range(1000))
    assert 0.92 < ties / 1000 < 0.98  # 4 binomial standard errors around 0.95


def test_validation_chooses_the_rate_and_a_diverged_one_never():
    valid = np.array([1.0, np.nan, 0.9, 1.0, 0.1, 2.0])
    result = Result.chosen("p", (3.0, 2.0, 1.0), valid, np.arange(6.0), 1.0, [""] * 6)
    assert result.eta == 2.0
    assert list(result.test) == [2.0, 3.0]


def test_the_table_shows_every_policy_and_counts(tmp_path):
    rows = [Result(name, 0.1, np.array([1.0, 1.1, 1.2]) + k, 1.0, ("",) * 3) for k, name in enumerate(POLICIES)]
    text = markdown({"task": rows}, {"task": "60 steps"})
    assert all(f"| {name} |" in text for name in POLICIES)
    assert tally({"task": rows})["constant"] == {"win": 1, "tie": 0, "loss": 0}
    assert rows[0].policy == OURS
    again = Result.read(json.loads(json.dumps(rows[0].record())))
    assert np.array_equal(again.test, rows[0].test)


def test_both_of_our_forms_are_judged_and_where_they_lose_is_said():
    draw = np.random.default_rng(0)
    levels = {"late decay": 1.0, "late decay, blind": 2.0, "constant": 3.0, "plateau": 0.5}
    rows = [Result(name, 0.1, level + 0.01 * draw.random(5), 1.0, ("",) * 5) for name, level in levels.items()]
    text = markdown({"task": rows}, {"task": "60 steps"}, ("another",))
    assert "Not run for this table: another." in text
    assert "| constant | no | 1, 0, 0 | 1, 0, 0 |" in text
    assert "| plateau | yes | 0, 0, 1 | 0, 0, 1 |" in text
    assert "- `late decay` does not help: task (to plateau)." in text
    assert "- `late decay, blind` does not help: task (to plateau)." in text


def test_a_finished_policy_is_not_run_again_unless_its_settings_changed(tmp_path, monkeypatch):
    task = Task(**{**vars(TINY), "steps": 12})
    text, first = _compared([task], (0, 1), tmp_path, 1)
    assert [row["policy"] for row in first["results"]["tiny"]] == list(POLICIES)
    monkeypatch.setattr("numerics.run.schedules_bench._run_policy", lambda *_: pytest.fail("trained again"))
    assert _compared([task], (0, 1), tmp_path, 1) == (text, first)
    with pytest.raises(pytest.fail.Exception):
        _compared([task], (0, 2), tmp_path, 1)


def test_a_closed_schedule_gives_its_rates():
    from numerics.schedule import Linear

    assert Closed(Linear(1.0, 10, 0.0)).factors(5) == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seeds", "1"], "seeds = 1 leave no standard error"),
        (["--jobs", "0"], "jobs = 0 is below 1"),
        (["--tasks", "cifar"], "tasks = cifar names no task; choose from: digits mlp"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(options, message, capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        main(["schedules-bench", "--out", str(tmp_path), *options])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_too_many_training_rows_are_refused():
    with pytest.raises(InputError, match="n_train = 170 leaves 8 of 178 rows to hold out"):
        load(Task(**{**vars(TINY), "n_train": 170}), seed=0)
