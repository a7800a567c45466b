"""Real processes, really stopped: SIGKILL at random moments, Ctrl-C and SIGTERM; what they leave is whole."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from numerics.hashes import sha256_of_file
from numerics.lock import locked
from numerics.run import cli
from numerics.run.check import verify
from numerics.run.interrupt import PATIENCE
from tests.sweep.faults import forked
from tests.sweep.jobs import LONG, SMALL
from tests.sweep.small import CONFIG, do, sweep, written

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def command(*words):
    return subprocess.Popen(
        [sys.executable, "-m", "numerics.run", *map(str, words)],
        cwd=ROOT,
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finished(*words):
    """Exit code, standard output, standard error and seconds."""
    begin = time.monotonic()
    process = command(*words)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err, time.monotonic() - begin


def stopped(process, number):
    """Send the signal; seconds until the process is gone, and its standard error."""
    begin = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    return time.monotonic() - begin, err


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def lines(folder):
    path = folder / "journal"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def readable(folder):
    """No file but a torn last line of the journal, or a shard without one, may look unfinished."""
    wrong = verify(folder)[1] if folder.exists() else {}
    return set(wrong) <= {"journal"} and all("torn" in reason or "first line" in reason for reason in wrong.values())


def test_a_sweep_killed_at_200_random_moments_leaves_no_unreadable_file_and_no_wrong_number(
    tmp_path, pytestconfig, monkeypatch
):
    """Forks of this process: a kill costs no start-up, and falls into shards, journal and result alike."""
    monkeypatch.setattr("numerics.sweep.runner.write_figure", lambda *_: None)
    kills = 200 if pytestconfig.getoption("--full") else 5
    do(sweep(), tmp_path / "warm")
    begin = time.monotonic()
    digest = do(sweep(), tmp_path / "whole").digest
    seconds, draw, met, ended, tried = time.monotonic() - begin, random.Random(2), 0, 0, 0
    folder = tmp_path / "0"
    while met < kills:
        tried += 1
        child = forked(lambda folder=folder: do(sweep(), folder))
        time.sleep(draw.uniform(0, 0.7 * seconds))
        os.kill(child, signal.SIGKILL)
        met += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        assert readable(folder), (tried, verify(folder))
        if (folder / "sweep.nc").exists():
            assert sha256_of_file(folder / "sweep.nc") == digest
            folder, ended = tmp_path / str(tried), ended + 1
    assert do(sweep(), folder).digest == digest
    assert verify(folder)[1] == {}
    print(f"{met} kills met a running sweep, {tried - met} came too late; {ended} sweeps ended in between")


@pytest.mark.full
def test_a_command_killed_at_random_moments_ends_with_the_same_hash(tmp_path):
    kills = 30
    config = written(tmp_path / "sweep.json")
    code, _, err, seconds = finished("sweep", config, "--out", tmp_path / "whole")
    assert code == 0, err
    digest = sha256_of_file(tmp_path / "whole" / "sweep.nc")
    draw, done, stopped, round_ = random.Random(1), 0, 0, 0
    while done < kills:
        folder = tmp_path / f"killed-{round_}"
        process = command("sweep", config, "--out", folder)
        time.sleep(draw.uniform(0.3, 1.0) * seconds)
        process.kill()
        process.communicate()
        done, stopped = done + 1, stopped + (process.returncode == -signal.SIGKILL)
        assert readable(folder), verify(folder)
        if (folder / "sweep.nc").exists():
            assert sha256_of_file(folder / "sweep.nc") == digest
            round_ += 1
    code, _, err, _ = finished("sweep", config, "--out", folder)
    assert code == 0, err
    assert sha256_of_file(folder / "sweep.nc") == digest
    assert verify(folder)[1] == {}
    print(f"{stopped} of {kills} kills met a running process; {round_} sweeps ended between them")


@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGINT, 130, marks=pytest.mark.full), (signal.SIGTERM, 143)]
)
def test_a_sweep_that_is_interrupted_keeps_its_shards_and_leaves_within_seconds(tmp_path, number, code):
    long = {**CONFIG["fixed"], "steps": 200_000}
    config = written(tmp_path / "sweep.json", fixed=long, random={**CONFIG["random"], "draws": 400})
    out = tmp_path / "out"
    process = command("sweep", config, "--out", out, *(["--workers", 2] if number == signal.SIGINT else []))
    wait_for(lambda: lines(out) > 4)  # the last may not be on disk yet, and is then taken back
    seconds, err = stopped(process, number)
    assert seconds < 5
    assert process.returncode == code, err
    assert err.splitlines()[-1] == "interrupted: nothing half-written is left behind"
    assert "Traceback" not in err
    assert readable(out)
    assert lines(out) > 3
    if seconds < PATIENCE:  # on a machine so busy that unwinding takes longer, the next call clears up
        assert verify(out)[1] == {}
        assert not [path for path in out.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("job", [job if job == "phase2" else pytest.param(job, marks=pytest.mark.full) for job in LONG])
def test_a_job_that_is_terminated_leaves_within_seconds_and_the_old_result_stays(tmp_path, job):
    old = tmp_path / "summary.json"
    old.write_text("old")
    process = command(job, *LONG[job], "--out", tmp_path)
    wait_for(lambda: (tmp_path / ".next").exists())
    time.sleep(4)
    seconds, err = stopped(process, signal.SIGTERM)
    assert seconds < 5
    assert (process.returncode, "Traceback" in err) == (143, False), err
    kept = {"summary.json", "journal", "shards", "state"}  # unfinished work that the next call goes on with
    assert seconds > PATIENCE or {path.name for path in tmp_path.iterdir()} <= kept
    assert readable(tmp_path)
    assert old.read_text() == "old"


def test_a_signal_is_heard_while_a_library_computes_for_long():
    """In LAPACK no handler of Python's runs: the watching thread ends the process."""
    code = """
import numpy as np
from numerics.run import interrupt
interrupt.PATIENCE = 0.5
with interrupt.interruptible():
    matrix = np.random.default_rng(0).standard_normal((4000, 4000))
    print("computing", flush=True)
    np.linalg.svd(matrix)
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=ENVIRONMENT, text=True, stdout=-1, stderr=-1)
    process.stdout.readline()
    time.sleep(0.3)
    seconds, err = stopped(process, signal.SIGINT)
    assert 0.4 < seconds < 5
    assert (process.returncode, err) == (130, "interrupted: nothing half-written is left behind\n")


@pytest.mark.parametrize("job", SMALL)
def test_a_second_run_in_the_folder_of_a_job_is_refused(tmp_path, capsys, job):
    config, out = str(written(tmp_path / "sweep.json")), tmp_path / "out"
    (out / "state").mkdir(parents=True)
    words = [config if word == "CONFIG" else word for word in SMALL[job]]
    with locked(out), pytest.raises(SystemExit) as stop:
        cli.main([job, *words, "--out", str(out)])
    err = capsys.readouterr().err
    assert stop.value.code == 2
    assert re.search(rf"^error: out = \S+ is in use by process {os.getpid()} on \S+; wait, or .*\n", err, re.M), err
    assert [path.name for path in out.iterdir()] == ["state"]
    assert list((out / "state").iterdir()) == []


def test_every_command_that_writes_is_among_those_tried():
    assert {*SMALL, "rerun", "check"} == {*cli.PLUGINS}
    assert {*LONG, "sweep", "advise"} == {*SMALL}


def test_a_full_disk_is_one_line_and_exit_code_1(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    written(tmp_path / "sweep.json")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SystemExit) as stop:
        cli.main(["sweep", str(tmp_path / "sweep.json"), "--out", str(tmp_path / "out")])
    assert stop.value.code == 1
    assert [line for line in capsys.readouterr().err.splitlines() if "error" in line] == [
        "error: [Errno 28] No space left on device"
    ]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"data": ["gaussian", "digts"]}, "data = digts is not known; did you mean digits?"),
        ({"data": ["nowhere.npz"]}, "data = nowhere.npz is not a file; check the path"),
        ({"parametrization": ["radial", "radail"]}, "parametrization = radail is unknown; choose one of"),
        ({"dept": [2]}, "key = dept is unknown in [grid]; did you mean depth?"),
    ],
)
def test_a_wrong_configuration_writes_nothing(tmp_path, capsys, grid, message):
    fixed = {name: value for name, value in CONFIG["fixed"].items() if name not in grid}
    config = written(tmp_path / "sweep.json", fixed=fixed, grid=grid)
    with pytest.raises(SystemExit) as stop:
        cli.main(["sweep", str(config), "--out", str(tmp_path / "out")])
    line = capsys.readouterr().err
    assert (stop.value.code, line.count("\n"), message in line) == (2, 1, True), line
    assert not (tmp_path / "out").exists()


def test_a_point_that_fails_shows_in_the_exit_code(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("numerics.sweep.runner.write_figure", lambda *_: None)
    config = written(tmp_path / "sweep.json", random={}, grid={"eta": [1e-3, 50.0]})
    for _ in range(2):
        with pytest.raises(SystemExit) as stop:
            cli.main(["sweep", str(config), "--out", str(tmp_path / "out")])
        assert stop.value.code == 3
        out = capsys.readouterr().out
        assert "failed: eta = 50.0: eta = 50 exceeds the mean-square stability limit" in out
        assert "1 of 2 points" in out
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["failures"][0]["settings"] == {"eta": 50.0}
