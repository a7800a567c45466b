"""A result says how it was made; making it again gives the same bits, or a list of what differs."""

import json
import re

import numpy as np
import pytest

from numerics.files import write_json
from numerics.run import cli
from tests.sweep.jobs import QUICK, SMALL
from tests.sweep.small import written

TIMED = ("bench", "device-bench", "device-check")
#: the others are run twice with --full only
IN_SHORT = ("advise", "network-law")


@pytest.fixture
def no_picture(monkeypatch):
    for place in ("numerics.files", "numerics.sweep.runner"):
        monkeypatch.setattr(f"{place}.write_figure", lambda *_: None)


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


@pytest.mark.usefixtures("no_picture")
@pytest.mark.parametrize(
    "job",
    [
        pytest.param(job, marks=[] if job in IN_SHORT else pytest.mark.full)
        for job in SMALL
        if job not in (*TIMED, "sweep")
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")  # torch's own, on the first use of torch.func.jvp
def test_a_job_is_reproduced_from_its_summary_and_from_its_curves(capsys, tmp_path, job):
    if job in ("networks", "network-law", "schedules-bench"):
        pytest.importorskip("torch")
    assert run(capsys, job, *SMALL[job], "--out", tmp_path)[0] == 0
    written = {path.name for path in tmp_path.iterdir()} & {"summary.json", f"{job}.nc"}
    assert "summary.json" in written
    for name in written:
        code, out, err = run(capsys, "rerun", tmp_path / name)
        assert code == 0, (out, err)
        assert "reproduced bit for bit" in out
        assert "then," not in out
        assert all(f"{part}: the same" in out for part in (written if name == "summary.json" else [name]))


@pytest.mark.parametrize("job", TIMED)
def test_measured_times_are_refused(capsys, tmp_path, job):
    write_json(tmp_path / "a.json", {"provenance": {"arguments": [job, "--small"]}})
    code, _, err = run(capsys, "rerun", tmp_path / "a.json")
    assert code == 2
    assert re.fullmatch(
        rf"error: FILE = \S+ holds measured times, which no second run repeats; run the command {job} again .*\n", err
    )


def test_pictures_are_reproduced(capsys, tmp_path):
    assert run(capsys, "phase2", *QUICK, "--out", tmp_path)[0] == 0
    out = run(capsys, "rerun", tmp_path / "summary.json")[1]
    for kind in ("nc", "svg", "pdf", "png"):
        assert f"phase2.{kind}: the same SHA-256" in out


@pytest.mark.usefixtures("no_picture")
def test_a_sweep_is_reproduced_without_its_configuration_file(capsys, tmp_path):
    config = written(tmp_path / "sweep.json")
    assert run(capsys, "sweep", config, "--out", tmp_path / "out")[0] == 0
    config.unlink()
    for name in ("sweep.nc", "summary.json"):
        code, out, _ = run(capsys, "rerun", tmp_path / "out" / name)
        assert code == 0, out
        assert "sweep.nc: the same SHA-256" in out


@pytest.mark.usefixtures("no_picture")
def test_what_differs_is_said(capsys, tmp_path):
    run(capsys, "phase2", *QUICK, "--out", tmp_path)
    path = tmp_path / "summary.json"
    content = json.loads(path.read_text())
    content["provenance"]["libraries"]["numpy"] = "1.0"
    content["provenance"]["version"] = "0.0.1"
    content["simulation"]["rho_mean"][3] += 1e-16
    content["simulation"]["loss_mean"][3] *= 1 + 1e-15
    write_json(path, content)
    data = (tmp_path / "phase2.nc").read_bytes()
    (tmp_path / "phase2.nc").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    code, out, _ = run(capsys, "rerun", path)
    assert code == 3
    assert f"numpy: 1.0 then, {np.__version__} now" in out
    assert "version: 0.0.1 then" in out
    assert "summary.json: differs in simulation" in out
    assert "phase2.nc: SHA-256" in out
    assert "NOT reproduced" in out


@pytest.mark.usefixtures("no_picture")
def test_a_data_file_that_changed_is_refused(capsys, tmp_path, monkeypatch):
    draw = np.random.default_rng(0)
    monkeypatch.chdir(tmp_path)
    np.savez("mine.npz", X=draw.standard_normal((4, 9)), w_star=draw.standard_normal(9))
    quick = [*QUICK[:-2], "--data", "mine.npz"]
    assert run(capsys, "phase2", *quick, "--out", "out")[0] == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run(capsys, "rerun", "../out/summary.json")[0] == 0
    np.savez("../mine.npz", X=draw.standard_normal((4, 9)), w_star=draw.standard_normal(9))
    code, _, err = run(capsys, "rerun", "../out/summary.json")
    assert code == 2
    assert "mine.npz is not the file that was read (its SHA-256 differs); restore it" in err
    (tmp_path / "mine.npz").unlink()
    assert "is not there any more; put it back" in run(capsys, "rerun", "../out/summary.json")[2]


@pytest.mark.parametrize("text", ["", "{}", '{"provenance": {}}', "[1]"])
def test_a_file_that_says_nothing_is_refused(capsys, tmp_path, text):
    (tmp_path / "summary.json").write_text(text)
    code, _, err = run(capsys, "rerun", tmp_path / "summary.json")
    assert code == 2
    assert len(err.splitlines()) == 1


def test_a_file_that_is_not_there_is_refused(capsys, tmp_path):
    for name in ("a.nc", "summary.json"):
        assert "does not exist" in run(capsys, "rerun", tmp_path / name)[2]
    assert "is not a folder" in run(capsys, "check", tmp_path / "none")[2]
    assert "holds no recorded result" in run(capsys, "check", tmp_path)[2]


@pytest.mark.usefixtures("no_picture")
def test_check_names_what_is_damaged_in_a_jobs_folder(capsys, tmp_path):
    run(capsys, "phase2", *QUICK, "--out", tmp_path)
    assert run(capsys, "check", tmp_path)[:2] == (0, "2 files checked, 0 wrong\n")
    data = bytearray((tmp_path / "phase2.nc").read_bytes())
    data[len(data) // 2] ^= 4
    (tmp_path / "phase2.nc").write_bytes(data)
    code, out, _ = run(capsys, "check", tmp_path)
    assert code == 3
    assert "phase2.nc: damaged (SHA-256" in out
