"""`bench`: engines run the same process, failures are named, options are checked. No speed is asserted."""

import json

import numpy as np
import pytest

from numerics.bench import compare
from numerics.bench.peers import numpy_engine, sde_step, separable_step, sgd_step
from numerics.bench.problem import SIGMA, Workload, make_task
from numerics.bench.worker import PEERS, engines
from numerics.errors import InputError
from numerics.run import bench as command
from numerics.run import cli
from tests import naive

SMALL = {kind: Workload(kind, 4, 12, 2, 6) for kind in ("sgd", "sde", "separable")}


def definition(kind, task, u, rows, xi):
    """One step of SGD on the drawn rows, example after example."""
    step = np.zeros_like(u)
    for row, noise in zip(rows, xi, strict=True):
        x = task.X[row]
        f, gradient = x @ u**3, 3 * x * u**2
        if kind == "sgd":
            f, gradient = u @ u * (x @ u), u @ u * x + 2 * (x @ u) * u
        step += (f - task.y[row] - SIGMA * noise) * gradient
    return u - task.eta / task.batch * step


@pytest.mark.parametrize(("kind", "step"), [("sgd", sgd_step), ("separable", separable_step)])
def test_the_peers_step_is_the_definition(kind, step):
    task, draw = make_task(SMALL[kind], 0, False), np.random.default_rng(0)
    rows, xi = draw.integers(0, 4, (6, 2)), draw.standard_normal((6, 2))
    U = task.cast()[2]
    new = step(np, task, U, task.X[rows], task.y[rows], xi)
    for i in range(6):
        np.testing.assert_allclose(new[i], definition(kind, task, U[i], rows[i], xi[i]), rtol=1e-12)


def test_the_peers_sde_step_is_ours():
    """On the normals of our own stream."""
    workload = SMALL["sde"]
    task = make_task(workload, 3, False)
    xi = np.array([[naive.normal(3, 0, i, b) for b in range(4)] for i in range(6)])
    U = sde_step(np, task, task.cast()[2], task.X, task.y, xi)
    w = np.sum(U**2, axis=1)[:, None] * U
    expected = np.mean((w @ task.X.T - task.y) ** 2, axis=1) / 2
    np.testing.assert_allclose(compare.ours(workload, 3, True, 1)(1)(), expected, rtol=1e-8)


@pytest.mark.parametrize("kind", ["sgd", "sde"])
def test_a_peer_given_the_reduction_walks_the_same_path(kind):
    """Same generator, so the same draws; n + 1 coordinates instead of d."""
    full, reduced = (numpy_engine(kind, make_task(SMALL[kind], 1, form))(30)() for form in (False, True))
    np.testing.assert_allclose(full, reduced, rtol=1e-9)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_reduced_and_full_paths_agree_before_anything_is_timed(precision):
    assert compare.paths_agree(Workload("sgd", 4, 12, 2, 6, precision)) <= compare.AGREEMENT[precision]


def test_an_engine_of_another_process_is_refused():
    """The negative control of `same_loss`."""
    row = {"loss": 1.0, "sem": 0.01}
    assert compare.same_loss({"latedecay reduced": [row], "numpy full": [row | {"loss": 1.02}]})
    with pytest.raises(RuntimeError, match="numpy full: mean loss 2, ours 1"):
        compare.same_loss({"latedecay reduced": [row], "numpy full": [row | {"loss": 2.0}]})


def test_nothing_is_timed_where_an_engine_runs_another_process(monkeypatch):
    row = {"loss": 1.0, "sem": 0.01}
    monkeypatch.setattr(compare, "losses", lambda *_: {"latedecay full": [row], "numpy full": [row | {"loss": 2.0}]})
    monkeypatch.setattr(compare, "rounds", lambda *_: pytest.fail("timed"))
    with pytest.raises(RuntimeError, match="numpy full: mean loss 2"):
        command.measure(SMALL["separable"], ("numpy",), 1, 0.1, 1, 60)


def test_engine_and_reduction_are_never_mixed():
    row = {"rate": 1.0, "wall": 1.0, "cpu": 1.0}
    found = {name: [row, row] for name in engines("sgd", ("numpy",))}
    for one in compare.comparisons(found, "sgd"):
        same = one["ours"].split()[1] == one["peer"].split()[1]
        assert (one["kind"] == "engine") == same


def test_the_interval_of_a_ratio_covers_it():
    """95 % by construction, 2000 trials of 5 rounds: the share covered within four standard errors."""
    draw = np.random.default_rng(0)
    covered = []
    for _ in range(2000):
        _, low, high = compare.geometric_interval(np.exp(1 + 0.2 * draw.standard_normal(5)))
        covered.append(low <= np.e <= high)
    assert abs(np.mean(covered) - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 2000)


def test_a_peer_that_fails_is_named_with_its_error():
    found = compare.rounds(["numpy nonsense", "nobody full"], SMALL["sgd"], 1, 0.0, 1, 60)
    assert "KeyError: 'nobody'" in found["nobody full"][0]["error"]
    assert compare.ran(found) == ["numpy nonsense"]


def test_a_size_of_ones_own_end_to_end(tmp_path, monkeypatch, capsys):
    names = ("cold", "cached", "import", "first_result_after_import")
    monkeypatch.setattr(command, "start_up", lambda: dict.fromkeys(names, 0.0))
    monkeypatch.setattr(command, "installed", lambda peer: peer == "numpy")
    options = [
        "--n",
        "4",
        "--d",
        "12",
        "--batch",
        "2",
        "--replicas",
        "8",
        "--workloads",
        "W1",
        "--peers",
        "numpy,diffrax",
    ]
    with pytest.raises(SystemExit) as stop:
        cli.main(["bench", *options, "--small", "--seconds", "0.02", "--rounds", "1", "--out", str(tmp_path)])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "numpy installed, diffrax not installed" in printed
    result = json.loads((tmp_path / "bench.json").read_text())
    assert result["workloads"]["W1"]["workload"]["d"] == 12
    assert {c["kind"] for c in result["workloads"]["W1"]["comparisons"]} == {"engine", "engine + reduction"}
    assert (tmp_path / "bench.txt").read_text() in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workloads": "W9"}, "workloads = W9 is not one of W1"),
        ({"peers": "numpy,matlab"}, "peers = matlab is not one of numpy"),
        ({"n": 100}, "n = 100 is not below d = 100"),
        ({"rounds": 0}, "rounds = 0 is below 1"),
        ({"replicas": 1}, "replicas = 1 is below 2"),
        ({"precision": "half"}, "precision = half is not float64 or float32"),
    ],
)
def test_wrong_options_are_named(options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        command.bench(**options, out=tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_every_peer_has_an_engine_for_some_workload():
    for kind in SMALL:
        assert any(kind in kinds for _, _, kinds in PEERS.values())
