"""Real workers in processes of their own: a Dask cluster that loses one, submitit's processes; the hash is one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from numerics.errors import InputError
from numerics.sweep.engines import dask, local
from numerics.sweep.slurm import Slurm
from tests.sweep.small import do, sweep

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def no_picture(monkeypatch):
    monkeypatch.setattr("numerics.sweep.runner.write_figure", lambda *_: None)


def started(tmp_path, *command):
    """A process of Dask's, its output in a file."""
    with (tmp_path / f"{len(list(tmp_path.glob('*.log')))}.log").open("w") as log:
        line = [sys.executable, "-m", *command, "--no-dashboard"]
        return subprocess.Popen(line, cwd=tmp_path, env=ENVIRONMENT, stderr=log)


def wait_for(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def cluster(tmp_path):
    """Address of a scheduler on the loopback, and its three worker processes."""
    pytest.importorskip("distributed", reason="Dask is not installed: pip install 'latedecay[cluster]'")
    found = tmp_path / "scheduler.json"
    module = "distributed.cli.dask_scheduler"
    processes = [
        started(tmp_path, module, "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(found)),
    ]
    wait_for(lambda: found.exists() and found.stat().st_size > 0)
    address = json.loads(found.read_text())["address"]
    worker = ("distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", "1", "--host", "127.0.0.1")
    processes += [started(tmp_path, *worker) for _ in range(3)]
    yield address, processes[1:]
    for process in processes:
        process.kill()
        process.wait()


def test_dask_loses_a_worker_and_the_hash_is_that_of_one_process(cluster, tmp_path):
    address, workers = cluster
    chosen = sweep(block=2, random={}, grid={"depth": [2, 3], "eta_fraction": [0.2, 0.4, 0.6]})
    engine, killed = dask(address), []

    def losing(tasks):
        for pair in engine(tasks):
            if not killed:  # the others have work, or wait for it
                workers[0].send_signal(signal.SIGKILL)
                killed.append(workers[0].wait())
            yield pair

    found = do(chosen, tmp_path / "dask", losing)
    assert killed == [-signal.SIGKILL]
    assert found.failures == []
    assert found.digest == do(chosen, tmp_path / "one", local(1)).digest


def test_a_scheduler_that_does_not_answer_is_refused(tmp_path):
    pytest.importorskip("distributed", reason="Dask is not installed: pip install 'latedecay[cluster]'")
    with pytest.raises(InputError, match=r"scheduler = nonsense://x does not answer"):
        do(sweep(), tmp_path, dask("nonsense://x"))


@pytest.mark.full
def test_a_process_that_dies_costs_no_shard(tmp_path):
    """joblib: the pool breaks, a new one takes over."""
    psutil = pytest.importorskip("psutil")

    engine, killed = local(2), []

    def losing(tasks):
        for pair in engine(tasks):
            if not killed:
                for child in psutil.Process().children(recursive=True):
                    if "popen_loky" in " ".join(child.cmdline()):
                        child.kill()
                        killed.append(child.pid)
                        break
            yield pair

    found = do(sweep(), tmp_path / "two", losing)
    assert killed
    assert found.failures == []
    assert found.digest == do(sweep(), tmp_path / "one", local(1)).digest


@pytest.mark.full
def test_submitit_gives_the_same_hash(tmp_path):
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'latedecay[cluster]'")
    engine = Slurm("local", tmp_path / "jobs", minutes=5, per_job=4)
    found = do(sweep(), tmp_path / "slurm", engine)
    assert found.failures == []
    assert found.digest == do(sweep(), tmp_path / "one", local(1)).digest
