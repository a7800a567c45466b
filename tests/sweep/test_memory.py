"""Memory is predicted from the settings, and refused before it is allocated; prediction and measured peak agree."""

import re

import numpy as np
import pytest

from numerics import memory
from numerics.errors import InputError
from numerics.run import cli
from numerics.run.loading import load_problem
from numerics.run.memory import peak, shape
from numerics.run.settings import validated
from tests.sweep.jobs import HUGE
from tests.sweep.measured import GIB, assert_predicted
from tests.sweep.small import written

MEASURED = {
    "many columns": "phase2 --data gaussian --n 50 --features 200000 --steps 200 --replicas 4 --records 10",
}
MEASURED_IN_FULL = {
    "many records": "phase2 --data gaussian --n 4 --steps 2000 --replicas 1000 --records 1500",
    "phase1": "phase1 --data gaussian --n 4 --steps 2000 --replicas 2000 --records 400",
    "phase3": "phase3 --data gaussian --n 4 --steps 4000 --replicas 2000 --records 600",
    "late-decay": "late-decay --data gaussian --n 4 --steps 2000 --replicas 2000 --records 800",
    "separable": "phase2 --data gaussian --parametrization coordinatewise --depth 2 --n 8 --features 20000 "
    "--steps 100 --replicas 400 --records 10",
    "held-out": "phase2 --data digits --n 30 --features 60000 --steps 200 --replicas 4 --records 10",
    "simulate": "simulate --data gaussian --n 4 --sampling shuffle --steps 2000 --replicas 3000 --records 1000",
    "simulate, flips": "simulate --data gaussian --n 50 --features 100000 --noise flips --steps 200 --replicas 4 "
    "--records 10",
    "simulate, dropout": "simulate --data gaussian --n 20 --features 20000 --noise dropout --steps 60 --replicas 300 "
    "--records 10",
    "simulate, separable": "simulate --data gaussian --parametrization coordinatewise --depth 2 --n 8 --features 20000 "
    "--steps 60 --replicas 400 --records 10",
    "diagram": "phase-diagram --data gaussian --n 4 --features 16 --replicas 20000 --steps 20 "
    "--x eta-fraction=0.3,0.5 --y sigma=0.03,0.1",
    "diagram, coordinatewise": "phase-diagram --data gaussian --n 4 --features 3000 --replicas 2000 --steps 20 "
    "--x eta-fraction=0.3 --y sigma=0.03 --parametrization coordinatewise",
    "advise": "advise --data digits --n 30 --features 60000",
    "advise-check": "advise-check --problems 1 --first 10010",
}


@pytest.mark.parametrize(
    "words",
    [*MEASURED.values(), *(pytest.param(words, marks=pytest.mark.full) for words in MEASURED_IN_FULL.values())],
    ids=[*MEASURED, *MEASURED_IN_FULL],
)
def test_the_measured_peak_is_the_predicted_one_within_bounds(tmp_path, words):
    assert_predicted(words, tmp_path)


@pytest.mark.parametrize(
    "given",
    [
        {"data": "gaussian", "n": 5},
        {"data": "gaussian", "n": 5, "features": 31},
        {"data": "digits"},
        {"data": "digits", "small": True, "features": 100},
        {"data": "diabetes", "n": 9},
        {"data": "MINE"},
        {"data": "MINE", "n": 3},
        {"data": "TABLE", "target": "c"},
    ],
)
def test_the_shape_is_that_of_the_problem(tmp_path, given):
    draw = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", X=draw.standard_normal((6, 20)), y=draw.standard_normal(6))
    (tmp_path / "table.csv").write_text("a,b,c,d\n1,2,1,5\n2,1,3,1\n")
    named = {"MINE": str(tmp_path / "mine.npz"), "TABLE": str(tmp_path / "table.csv")}
    settings = validated(job="phase2", out=tmp_path, **{**given, "data": named.get(given["data"], given["data"])})
    problem = load_problem(settings)
    n, d, held_out = shape(settings)
    found = 0 if problem.X_test is None else len(problem.X_test)
    assert (n, held_out) == (problem.n, found)
    assert d == problem.d + (given["data"] == "TABLE")  # the target's column is read, too


@pytest.mark.parametrize(("content", "columns"), [("", 1), ("\n\n", 1), ("a,b\n", 2), ("\n\na,b,y\n1,2,3\n", 3)])
def test_a_table_that_holds_little_is_left_to_the_reader_to_judge(tmp_path, content, columns):
    (tmp_path / "table.csv").write_text(content)
    settings = validated(job="phase2", out=tmp_path, data=str(tmp_path / "table.csv"))
    assert shape(settings)[:2] == (1, columns)


@pytest.mark.parametrize("job", HUGE)
def test_what_does_not_fit_is_refused_before_it_is_allocated(tmp_path, capsys, job):
    if job in ("networks", "network-law", "schedules-bench", "device-bench"):
        pytest.importorskip("torch")
    config = written(tmp_path / "sweep.json", fixed={"data": "gaussian", "n": 1000, "features": 100_000_000})
    words = [str(config) if word == "HUGE-CONFIG" else word for word in HUGE[job]]
    before = memory.resident()
    with pytest.raises(SystemExit) as stop:
        cli.main([job, *words, "--out", str(tmp_path / "out")])
    line = capsys.readouterr().err
    assert stop.value.code == 2, line
    assert re.fullmatch(r"error: memory = \d+\.\d\d GiB would be needed, and [\d.]+ GiB can be had; lower .*\n", line)
    assert not (tmp_path / "out").exists()
    assert memory.resident() - before < GIB / 2  # modules


def fake(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = {"proc/meminfo": f"MemTotal: 99 kB\nMemAvailable: {8 * 2**20} kB\n"}


def test_the_tightest_limit_counts(tmp_path):
    assert memory.available(fake(tmp_path / "a", MEMINFO)) == 8 * GIB
    two = {
        "proc/self/cgroup": "0::/jobs/mine\n",
        "sys/fs/cgroup/jobs/memory.max": f"{4 * GIB}\n",
        "sys/fs/cgroup/jobs/memory.current": f"{3 * GIB}\n",
        "sys/fs/cgroup/jobs/memory.stat": f"anon 5\ninactive_file {GIB}\n",
        "sys/fs/cgroup/jobs/mine/memory.max": "max\n",
        "sys/fs/cgroup/jobs/mine/memory.current": "1\n",
        "sys/fs/cgroup/jobs/mine/memory.stat": "anon 5\n",
    }
    assert memory.available(fake(tmp_path / "b", MEMINFO | two)) == 2 * GIB
    one = {
        "proc/self/cgroup": "3:cpu:/x\n2:memory:/jobs\n",
        "sys/fs/cgroup/memory/jobs/memory.limit_in_bytes": f"{GIB}\n",
        "sys/fs/cgroup/memory/jobs/memory.usage_in_bytes": "1024\n",
        "sys/fs/cgroup/memory/jobs/memory.stat": "total_inactive_file 24\n",
    }
    assert memory.available(fake(tmp_path / "c", MEMINFO | one)) == GIB - 1000
    assert memory.available(tmp_path / "nothing") is None


def test_memory_that_is_held_already_is_not_needed_again(tmp_path):
    root = fake(tmp_path, MEMINFO)
    assert memory.require(9 * GIB, "", held=2 * GIB, root=root) == "memory: about 9.00 GiB of 10.00 GiB"
    with pytest.raises(InputError, match=r"memory = 9\.00 GiB would be needed, and 8\.00 GiB can be had; do less"):
        memory.require(9 * GIB, "do less", root=root)
    assert "cannot be read" in memory.require(1, "", root=tmp_path / "nothing")


def test_a_larger_setting_never_needs_less(tmp_path):
    small = validated(job="phase2", out=tmp_path, data="gaussian", n=10, features=1000)
    for name, value in {"replicas": 9000, "records": 90000, "features": 10**7}.items():
        assert peak(small.model_copy(update={name: value})) > peak(small)
