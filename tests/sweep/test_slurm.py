"""Slurm loses jobs, is silent, kills; things are left behind: on a queue that plays Slurm; --full: on a real one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from numerics.errors import InputError
from numerics.run.cli import main
from numerics.sweep import slurm, slurm_queue
from numerics.sweep.engines import Lost, local
from numerics.sweep.slurm import Slurm
from numerics.sweep.slurm_queue import compute_all
from tests.sweep.small import do, sweep, written

ROOT = Path(__file__).parents[2]
TASKS = [f"task {i}" for i in range(20)]


class Played:
    """A queue whose jobs run when somebody asks for their states; ``fate(tasks)`` says what becomes of a job."""

    def __init__(self, fate, silent, away):
        self.fate, self.silent, self.away = fate, silent, away
        self.jobs, self.at_once, self.calls = [], 0, []

    def submitted(self, groups, folder):
        if self.away:
            self.away -= 1
            return []
        self.jobs += [SimpleNamespace(job_id=f"{len(self.jobs)}_{i}", group=group, folder=folder, state="PENDING",
                                      paths=SimpleNamespace(stderr=Path(folder).parent / f"{len(self.jobs)}_{i}.err"))
                      for i, group in enumerate(groups)]  # fmt: skip
        self.calls.append(len(groups))
        self.at_once = max(self.at_once, sum(job.state == "PENDING" for job in self.jobs))
        return self.jobs[-len(groups) :]

    def states(self):
        self.silent -= 1
        if self.silent >= 0:
            return None
        for job in [job for job in self.jobs if job.state == "PENDING"]:
            job.state = self.fate(job)
        return {job.job_id: job.state for job in self.jobs}

    def cancel(self):
        self.jobs = [job for job in self.jobs if job.state != "PENDING"]


def finished(job, until=None):
    """Compute the tasks of a job before ``until``."""
    tasks = job.group[: job.group.index(until)] if until in job.group else job.group
    compute_all(tasks, job.folder)
    return "FAILED" if until in job.group else "COMPLETED"


@pytest.fixture
def play(monkeypatch, tmp_path):
    """Run the tasks on a queue of a fate; results by task, and the queue."""
    monkeypatch.setattr(slurm_queue, "compute", str.upper)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(time, "sleep", lambda _: None)

    def run(fate, tasks=TASKS, silent=0, away=0, **asked):
        queue = Played(fate, silent, away)
        monkeypatch.setattr(slurm, "Queue", lambda _: queue)
        engine = Slurm("slurm", tmp_path / ".slurm", minutes=1, **{"per_job": 4, **asked})
        return {tasks[i]: result for i, result in engine(tasks)}, queue

    return run


def test_every_task_is_computed_once_and_nothing_stays_in_the_folder(play, tmp_path):
    found, queue = play(finished)
    assert found == {task: task.upper() for task in TASKS}
    assert sum(len(job.group) for job in queue.jobs) == len(TASKS)
    assert not (tmp_path / ".slurm").exists()


def test_a_lost_job_loses_only_the_task_it_was_at(play, capsys):
    struck = []

    def fate(job):
        if "task 6" in job.group and not struck:
            struck.append(job.job_id)
            return finished(job, "task 6") and "NODE_FAIL"
        return finished(job)

    found, queue = play(fate)
    assert found == {task: task.upper() for task in TASKS}
    assert [job.group for job in queue.jobs[5:]] == [["task 6"], ["task 7"]]
    assert "was lost (NODE_FAIL; without a word)" in capsys.readouterr().err


def test_a_deadly_task_is_found_and_named_and_takes_no_other_with_it(play):
    found, _ = play(lambda job: finished(job, "task 5"))
    assert found.pop("task 5") == Lost("its job was lost 3 times (FAILED; without a word)")
    assert found == {task: task.upper() for task in TASKS if task != "task 5"}


def test_two_deadly_tasks_of_one_job_are_told_apart(play):
    def fate(job):
        deadly = [task for task in job.group if task in ("task 4", "task 5")]
        return finished(job, deadly[0]) if deadly else finished(job)

    found, _ = play(fate)
    assert {task for task, result in found.items() if isinstance(result, Lost)} == {"task 4", "task 5"}


def test_no_more_jobs_than_asked_for_are_in_the_queue(play):
    found, queue = play(finished, tasks=[str(i) for i in range(100)], per_job=1, at_once=8)
    assert len(found) == 100
    assert queue.at_once == 8
    assert max(queue.calls) == 8


def test_while_slurm_is_silent_jobs_wait_and_nobody_is_declared_dead(play, capsys):
    found, queue = play(finished, silent=50, away=3)
    assert found == {task: task.upper() for task in TASKS}
    assert len(queue.jobs) == 5
    assert capsys.readouterr().err == ""


def test_an_installation_that_cannot_begin_is_refused_at_the_first_job(play):
    def fate(job):
        job.paths.stderr.write_text("Traceback\nModuleNotFoundError: No module named 'numerics'\nsrun: error: exit 1\n")
        return "FAILED"

    with pytest.raises(InputError, match=r"Slurm worker = ModuleNotFoundError \(No module named 'numerics'\); install"):
        play(fate)


def test_jobs_that_all_die_at_once_end_the_sweep(play):
    with pytest.raises(InputError, match=r"lost 10 jobs and computed nothing \(without a word\); see the logs in"):
        play(lambda _: "FAILED")


def test_what_jobs_computed_for_a_killed_coordinator_is_used_unless_damaged(play, tmp_path):
    folder = tmp_path / ".slurm" / "results"
    folder.mkdir(parents=True)
    compute_all(TASKS[:6], str(folder))
    damaged = slurm_queue.file_of(folder, "task 2")
    damaged.write_bytes(damaged.read_bytes().replace(b"TASK", b"TASC"))
    found, queue = play(finished)
    assert found == {task: task.upper() for task in TASKS}
    assert sorted(task for job in queue.jobs for task in job.group) == sorted(["task 2", *TASKS[6:]])


def answers():
    """Why no real Slurm can be used, or None."""
    try:
        seen = subprocess.run(["sinfo", "-h"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return f"no Slurm answers ({type(error).__name__}); docs/howto/runs/slurm_cluster.sh starts one"
    return None if seen.strip() else "sinfo lists no partition"


@pytest.fixture
def real(monkeypatch):
    """Skip without Slurm; no pictures."""
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'latedecay[cluster]'")
    reason = answers()
    if reason:
        pytest.skip(reason)
    monkeypatch.setattr("numerics.sweep.runner.write_figure", lambda *_: None)


def queued(engine):
    """What stands in Slurm's queue for a folder."""
    command = ["squeue", "-h", "-r", "-o", "%i", f"--name={slurm.Queue(engine).name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.split()


@pytest.mark.full
def test_a_real_slurm_gives_the_hash_of_one_process_with_its_jobs_cancelled(real, tmp_path, capsys):
    engine, struck = Slurm("slurm", tmp_path / "slurm", minutes=5, per_job=2, gigabytes=1.0), []

    def losing(tasks):
        for pair in engine(tasks):
            if not struck:
                struck.extend(queued(engine))  # those that run and those that wait
                subprocess.run(["scancel", *struck], check=True, timeout=30)
            yield pair

    found = do(sweep(), tmp_path / "out", losing)
    assert struck
    assert found.failures == []
    assert "was lost (CANCELLED" in capsys.readouterr().err
    assert found.digest == do(sweep(), tmp_path / "one", local(1)).digest
    assert queued(engine) == []


@pytest.mark.full
def test_an_interrupt_leaves_no_job_in_a_real_slurm_and_the_sweep_goes_on(real, tmp_path):
    config, out = written(tmp_path / "c.json"), tmp_path / "out"
    engine = Slurm("slurm", out / ".slurm", minutes=5)
    command = [sys.executable, "-m", "numerics.run", "sweep", str(config), "--out", str(out), "--cluster", "slurm"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not queued(engine) and time.monotonic() < end:
        time.sleep(0.1)
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert time.monotonic() - asked < 5
    while queued(engine) and time.monotonic() < end:  # Slurm takes a moment to end what runs
        time.sleep(0.2)
    assert queued(engine) == []
    assert subprocess.run(command, cwd=tmp_path, env=environment, timeout=200).returncode == 0


@pytest.mark.full
def test_a_partition_that_does_not_exist_is_refused(real, tmp_path):
    engine = Slurm("slurm", tmp_path / "slurm", minutes=5, partition="nonsense")
    with pytest.raises(InputError, match=r"^cluster = slurm refused 1 jobs \(Invalid partition name specified\); see"):
        do(sweep(), tmp_path / "out", engine)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--partition", "cpu"), "partition = cpu has no meaning without Slurm"),
        (("--memory", "2"), "memory = 2 has no meaning without Slurm"),
        (("--cluster", "slurm", "--memory", "0"), "memory = 0 is not positive"),
        (("--cluster", "slurm", "--jobs-at-once", "0"), "jobs-at-once = 0 is below 1"),
    ],
)
def test_options_that_slurm_cannot_mean_are_refused(tmp_path, capsys, options, said):
    config = written(tmp_path / "c.json")
    with pytest.raises(SystemExit, match="2"):
        main(["sweep", str(config), "--out", str(tmp_path / "out"), *options])
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
