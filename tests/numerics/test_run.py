"""The command line as a user meets it: contract of summary.json, reproducibility, every refusal in one line."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from numerics import files
from numerics.run import cli
from numerics.run.settings import Settings
from theory.parametrization import NAMES

ROOT = Path(__file__).parents[2]
QUICK = ["--small", "--replicas", "6", "--records", "20", "--steps", "4000"]

SUMMARY_KEYS = {
    "problem": {"n", "d", "depth", "parametrization", "norm_w_mn", "norm_w_star", "stability_limit_eta"},
    "law": {"step", "rho", "floor", "rho_small_eta", "floor_small_eta"},
    "simulation": {"step", "rho_mean", "rho_sem", "loss_mean", "loss_sem", "test_loss_mean", "test_loss_sem"},
    "provenance": {"version", "git", "seed", "threads", "libraries", "wall_seconds"},
}


@pytest.fixture
def no_picture(monkeypatch):
    """Drawing takes most of a small job's time; one test per job draws."""
    monkeypatch.setattr(files, "write_figure", lambda stem, figure: (Path(f"{stem}.png"),))


def run(capsys, *arguments):
    """Exit code, standard output and standard error of a job in this process."""
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def refused(capsys, *arguments):
    """The one line of a refusal."""
    code, out, err = run(capsys, *arguments)
    assert code == 2, (out, err)
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize("job", ["phase1", "phase2", "phase3", "late-decay"])
def test_a_job_writes_figure_curves_and_a_summary_that_keeps_the_contract(capsys, tmp_path, job):
    code, out, _ = run(capsys, job, *QUICK, "--out", tmp_path)
    assert code == 0
    assert "picture:" in out
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"{job}.svg", f"{job}.pdf", f"{job}.png", f"{job}.nc", "summary.json", "SHA256SUMS"}
    summary = json.loads((tmp_path / "summary.json").read_text())
    for block, keys in SUMMARY_KEYS.items():
        assert keys <= set(summary[block]), block
    lengths = {len(summary["simulation"][key]) for key in SUMMARY_KEYS["simulation"]}
    assert len(lengths) == 1
    assert len({len(summary["law"][key]) for key in SUMMARY_KEYS["law"]}) == 1
    assert summary["job"] == job
    for check in summary["checks"]:
        assert {"claim", "predicted", "observed", "sem", "z", "verdict"} <= set(check)
        assert check["verdict"] in {"pass", "fail", "outside conditions"}
    if job == "late-decay":
        keys = {"decay_step", "test_loss_mean", "test_loss_sem", "test_loss_law"}
        assert keys <= set(summary["late_decay"])
        assert len({len(summary["late_decay"][key]) for key in keys}) == 1


def test_the_netcdf_file_opens_with_labels(capsys, tmp_path):
    import xarray

    run(capsys, "phase2", *QUICK, "--out", tmp_path)
    with xarray.open_dataset(tmp_path / "phase2.nc", engine="h5netcdf") as curves:
        for variable in curves.variables.values():
            assert variable.attrs.get("long_name") or variable.dims == ("replica",)
        assert curves["rho_slow_simulation"].dims == ("step", "replica")


def test_the_same_seed_gives_the_same_bits_for_any_number_of_threads(capsys, tmp_path):
    for threads in (1, 3):
        run(capsys, "phase2", *QUICK, "--threads", threads, "--out", tmp_path / str(threads))
    for name in ("phase2.nc", "phase2.svg"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes(), name
    one, three = (json.loads((tmp_path / name / "summary.json").read_text()) for name in "13")
    assert one["simulation"] == three["simulation"]
    assert one["checks"] == three["checks"]


@pytest.mark.usefixtures("no_picture")
def test_another_seed_gives_another_run(capsys, tmp_path):
    for seed in (0, 1):
        run(capsys, "phase2", *QUICK, "--seed", seed, "--out", tmp_path / str(seed))
    zero, one = (json.loads((tmp_path / name / "summary.json").read_text()) for name in "01")
    assert zero["simulation"]["loss_mean"] != one["simulation"]["loss_mean"]


@pytest.mark.usefixtures("no_picture")
def test_gamma_is_depth_minus_one(capsys, tmp_path):
    run(capsys, "phase2", *QUICK, "--gamma", "1.5", "--out", tmp_path / "gamma")
    run(capsys, "phase2", *QUICK, "--depth", "2.5", "--out", tmp_path / "depth")
    assert (tmp_path / "gamma/phase2.nc").read_bytes() == (tmp_path / "depth/phase2.nc").read_bytes()


@pytest.mark.parametrize("name", ["coordinatewise", "diagonal-difference", "diagonal-product", "sinh"])
@pytest.mark.usefixtures("no_picture")
def test_every_parametrization_runs(capsys, tmp_path, name):
    options = ["--parametrization", name, "--depth", "2", "--data", "gaussian", "--n", "4", "--features", "10"]
    code, out, _ = run(capsys, "phase2", *QUICK, *options, "--out", tmp_path)
    assert code == 0
    assert "C3" in out
    assert "fail" not in out


@pytest.mark.usefixtures("no_picture")
def test_without_a_job_the_jobs_are_listed(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["numerics.run"])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    assert "\n  phase-diagram " in capsys.readouterr().out


def test_a_forced_run_above_the_limit_reports_the_divergence(capsys, tmp_path):
    code, out, _ = run(capsys, "phase2", *QUICK, "--eta", "10", "--force", "--out", tmp_path)
    assert code == 0
    assert "diverged: 6 of 6 replicas" in out
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["simulation"]["diverged"] == 6
    assert [check["verdict"] for check in summary["checks"]] == ["outside conditions"]
    assert summary["law"]["rho"] == []


@pytest.mark.usefixtures("no_picture")
def test_no_label_noise_is_outside_the_conditions_and_moves_nothing(capsys, tmp_path):
    run(capsys, "phase2", *QUICK, "--sigma", "0", "--out", tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    rho = np.array(summary["simulation"]["rho_mean"])
    np.testing.assert_allclose(rho, rho[0], rtol=1e-9)
    assert all(check["verdict"] == "outside conditions" for check in summary["checks"] if check["claim"] == "C4")


@pytest.mark.usefixtures("no_picture")
def test_depth_one_does_not_drift(capsys, tmp_path):
    _, out, _ = run(capsys, "phase2", *QUICK, "--depth", "1", "--out", tmp_path)
    assert "nothing drifts" in out
    rho = np.array(json.loads((tmp_path / "summary.json").read_text())["simulation"]["rho_mean"])
    np.testing.assert_allclose(rho, rho[0], rtol=1e-12)


REFUSALS = [
    (["--eta", "10"], r"eta = 10 exceeds the mean-square stability limit [\d.e-]+ of this problem; lower eta"),
    (["--eta", "nan"], r"eta = nan"),
    (["--eta", "fast"], r"eta = fast is neither a number nor auto"),
    (["--eta", "-1"], r"eta = -1 is not positive"),
    (["--sigma", "-0.1"], r"sigma = -0.1 is below 0"),
    (["--batch", "0"], r"batch = 0 is below 1; give at least 1"),
    (["--depth", "0.5"], r"depth = 0.5 is below 1"),
    (["--gamma", "-0.5"], r"gamma = -0.5 is negative"),
    (["--gamma", "1", "--depth", "3"], r"gamma = 1 contradicts depth = 3"),
    (["--replicas", "1"], r"replicas = 1 is below 2"),
    (["--steps", "1.5"], r"steps = 1.5 is neither a whole number nor auto"),
    (["--seed", "-1"], r"seed = -1 is below 0"),
    (["--rho0", "0"], r"rho0 = 0 is not positive"),
    (["--decay-factor", "1"], r"decay-factor = 1 is not above 1"),
    (["--decay-at", "500"], r"decay-at = 500 has no meaning for phase2.*; leave it out, or run phase3 or late-decay"),
    (["--data", "digts"], r"data = digts is not known; did you mean digits\?"),
    (["--data", "nowhere.npz"], r"nowhere.npz"),
    (["--n", "64"], r"n = 64 is not below the d = 64 columns"),
    (["--parametrization", "radail"], r"parametrization = radail is unknown; choose one of"),
    (["--bach", "3"], r"unknown option --bach; did you mean --batch\?"),
    (["--batch", "many"], r"batch = many is not valid"),
]


@pytest.mark.parametrize(("options", "message"), REFUSALS, ids=[" ".join(options) for options, _ in REFUSALS])
def test_bad_input_gets_one_line_and_exit_code_2(capsys, tmp_path, options, message):
    small = [] if "--n" in options else ["--small"]
    line = refused(capsys, "phase2", *small, "--steps", "1000", *options, "--out", tmp_path / "out")
    assert re.search(message, line), line
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_the_list_of_jobs_cuts_no_line_in_a_window_of_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = run(capsys, "--help")
    jobs = [line for line in out.split("Commands:")[1].splitlines() if line.strip()]
    assert len(jobs) == len(cli.PLUGINS)
    assert not [line for line in jobs if not line.endswith((".", ")")) or line.endswith("...")]


def test_the_help_of_a_job_has_every_option_once_and_the_names_that_theory_knows(capsys):
    for job in ("phase2", "simulate", "phase-diagram"):
        _, out, _ = run(capsys, job, "--help")
        options = re.findall(r"^  --([\w-]+)", out, re.MULTILINE)
        assert len(options) == len(set(options)) > 20
        assert {"depth", "gamma", "out"} < set(options)
    assert Settings.model_fields["parametrization"].description == ", ".join(NAMES)


def test_an_unknown_job_names_the_nearest(capsys):
    assert "unknown job phase4; did you mean phase" in refused(capsys, "phase4")


def test_a_file_in_the_way_of_the_output_folder_is_refused(capsys, tmp_path):
    (tmp_path / "file").write_text("mine")
    line = refused(capsys, "phase2", "--small", "--out", tmp_path / "file")
    assert "cannot be written" in line
    assert (tmp_path / "file").read_text() == "mine"


def test_broken_data_are_refused(capsys, tmp_path):
    X = np.random.default_rng(0).standard_normal((5, 12))
    cases = {
        "nan": (
            dict(X=np.where(X[2, 3] == X, np.nan, X), w_star=np.ones(12)),
            r"X\[2, 3\] = nan is not a finite number",
        ),
        "rank": (dict(X=np.vstack([X, X[:1]]), w_star=np.ones(12)), r"rank .* 5"),
        "tall": (dict(X=X.T, w_star=np.ones(5)), r"n = 12 is not below the d = 5 columns"),
        "object": (dict(X=np.array([{}, {}], dtype=object)), r"npz|object|pickle"),
    }
    for name, (arrays, message) in cases.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
        line = refused(capsys, "phase2", "--data", tmp_path / f"{name}.npz", "--out", tmp_path / "out")
        assert re.search(message, line), line


def test_a_decay_beyond_the_trunk_is_refused(capsys, tmp_path):
    line = refused(capsys, "late-decay", *QUICK, "--decay-at", "5000", "--out", tmp_path)
    assert "decay-at = 5000 lies beyond the trunk of 4000 steps" in line


def test_a_decay_at_the_end_is_refused(capsys, tmp_path):
    line = refused(capsys, "phase3", *QUICK, "--decay-at", "4000", "--out", tmp_path)
    assert "decay-at = 4000 is not below steps = 4000" in line


@pytest.mark.usefixtures("no_picture")
@pytest.mark.parametrize("job", ["phase1", "phase3", "late-decay"])
def test_every_job_reports_a_forced_divergence(capsys, tmp_path, job):
    code, out, _ = run(capsys, job, *QUICK, "--eta", "10", "--force", "--out", tmp_path)
    assert code == 0
    assert "diverged: 6 of 6 replicas" in out


def test_late_decay_without_a_test_loss_is_refused(capsys, tmp_path):
    draw = np.random.default_rng(0)
    np.savez(tmp_path / "bare.npz", X=draw.standard_normal((4, 9)), y=draw.standard_normal(4))
    line = refused(capsys, "late-decay", "--data", tmp_path / "bare.npz", "--out", tmp_path / "out")
    assert "test loss = none leaves nothing to compare" in line


@pytest.mark.usefixtures("no_picture")
def test_a_file_of_ones_own_with_a_start(capsys, tmp_path):
    draw = np.random.default_rng(1)
    X = draw.standard_normal((7, 300))
    w_star = draw.standard_normal(300) / np.sqrt(300)
    np.savez(tmp_path / "mine.npz", X=X, w_star=w_star, u0=draw.standard_normal(300))
    code, _, _ = run(capsys, "phase2", "--data", tmp_path / "mine.npz", "--depth", "2.5", "--out", tmp_path / "out")
    assert code == 0
    verdicts = [c["verdict"] for c in json.loads((tmp_path / "out/summary.json").read_text())["checks"]]
    assert "fail" not in verdicts
    assert verdicts.count("pass") >= 5


def test_ctrl_c_leaves_nothing_half_written(tmp_path):
    command = [sys.executable, "-m", "numerics.run", "phase2", "--steps", "2000000000", "--out", str(tmp_path)]
    job = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)})
    time.sleep(6)
    job.send_signal(signal.SIGINT)
    begin = time.perf_counter()
    _, err = job.communicate(timeout=60)
    assert job.returncode == 130, err
    assert time.perf_counter() - begin < 30
    assert list(tmp_path.iterdir()) == []
