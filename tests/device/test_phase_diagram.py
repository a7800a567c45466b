"""The phase diagram as a user runs it: the same on every engine, beside the law, bad input refused in one line."""

import json
import sys

import numpy as np
import pytest

from numerics.errors import InputError
from numerics.run import cli
from numerics.run.machine import Machine
from numerics.run.phase_grid import Grid, parse_axis
from numerics.run.phase_run import predicted_memory, simulate
from numerics.run.settings import validated

SIZE = ("--data", "gaussian", "--features", "12", "--n", "4", "--replicas", "8", "--steps", "300", "--batch", "1")


def run(out, *arguments):
    with pytest.raises(SystemExit) as leaving:
        cli.main(["phase-diagram", *SIZE, "--threads", "1", "--out", str(out), *arguments])
    return leaving.value.code


def grid(axes, replicas):
    settings = validated(job="phase-diagram", data="gaussian", n=4, features=12, replicas=replicas, batch=1, out="out")
    return Grid(settings, *(parse_axis("x", text) for text in axes))


def record(out):
    return json.loads((out / "summary.json").read_text())


@pytest.mark.parametrize(
    "axes",
    [("eta-fraction=0.2:0.8:3", "sigma=0.01:0.1:2:log"), ("batch=1,2", "rho0=1,2"), ("depth=2,3", "eta=0.01")],
)
def test_every_replica_is_the_same_by_numba_and_on_a_device(pytestconfig, axes):
    """Equal draws, whichever settings vary."""
    pytest.importorskip("torch")
    found = grid(axes, replicas=5)
    machines = [
        Machine("cpu", "numba", "float64", 1),
        Machine(pytestconfig.getoption("--device"), "torch", "float64", 1),
    ]
    numba, device = ({cell.first: observed for cell, observed in simulate(found, one, 300, id)} for one in machines)
    assert sorted(numba) == sorted(device) == [cell.first for cell in found.cells]
    for first, observed in numba.items():
        np.testing.assert_allclose(observed["rho_slow"], device[first]["rho_slow"], rtol=1e-9)
        np.testing.assert_allclose(observed["loss"], device[first]["loss"], rtol=1e-7)
    assert len(np.unique([observed["loss"] for observed in numba.values()])) == found.replicas


def test_the_job_writes_the_same_diagram_by_numba_and_on_a_device(tmp_path, pytestconfig):
    """Each cell with mean, error, law and verdict."""
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("torch")
    axes = ("--x", "sigma=0.02,0.05", "--y", "eta-fraction=0.3,0.6")
    assert run(tmp_path / "numba", *axes) == 0
    assert run(tmp_path / "torch", *axes, "--engine", "torch", "--device", pytestconfig.getoption("--device")) == 0
    ours, theirs = (xarray.load_dataset(tmp_path / name / "phase-diagram.nc") for name in ("numba", "torch"))
    np.testing.assert_allclose(ours.rho_replica, theirs.rho_replica, rtol=1e-9)
    assert np.array_equal(ours.rho_law, theirs.rho_law)
    assert {file.suffix for file in (tmp_path / "torch").glob("phase-diagram.*")} == {".nc", ".pdf", ".png", ".svg"}
    assert ours.rho.shape == (2, 2)
    assert np.all(np.abs(ours.rho - ours.rho_law) < 6 * ours.rho_sem + 0.02 * ours.rho_law)
    assert np.all(ours.diverged == 0)
    checks = record(tmp_path / "torch")["checks"]
    assert len(checks) == 4
    assert not [check for check in checks if check["verdict"] == "fail"]


def test_what_diverges_is_counted_and_the_law_is_silent(tmp_path):
    assert run(tmp_path, "--x", "eta-fraction=0.5,30", "--y", "sigma=0.05") == 0
    cells = record(tmp_path)["cells"]
    assert cells["diverged"] == [[0, 1]]
    assert cells["rho_law"][0][1] is None
    assert record(tmp_path)["checks"][1]["verdict"] == "outside conditions"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--x", "width=1:2:3"), "x = width=1:2:3 names no setting of a phase diagram"),
        (("--x", "eta=1:2"), "x = eta=1:2 is not a range or list of numbers"),
        (("--x", "sigma=0:1:3"), "x = sigma=0:1:3 has values that are not finite and above 0"),
        (("--x", "sigma=0.1", "--y", "sigma=0.2"), "y = sigma contradicts x = sigma"),
        (("--engine", "jax"), "engine = jax is unknown"),
        (("--precision", "float16"), "precision = float16 is unknown"),
        (("--precision", "float32"), "precision = float32 is not numba's here"),
        (("--device", "tpu"), "device = tpu is no device of this program"),
        (("--device", "cuda:99"), "device = cuda:99 is not there"),
        (("--device", "cuda", "--engine", "numba"), "engine = numba does not run on cuda"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, capsys, arguments, line):
    pytest.importorskip("torch")
    assert run(tmp_path / "out", *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {line}")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_without_torch_numba_runs_and_a_card_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    [(_, observed)] = simulate(grid(("sigma=0.1", "rho0=1"), 2), Machine("cpu", "auto", "float64", 1), 5, id)
    assert np.all(np.isfinite(observed["rho_slow"]))
    with pytest.raises(InputError, match="device = cuda runs on torch, which is not installed"):
        Machine("cuda", "auto", "float64", 1).torch_device()


def test_memory_is_refused_before_it_is_taken(tmp_path, capsys):
    assert run(tmp_path / "out", "--replicas", str(10**12)) == 2
    assert "memory = " in capsys.readouterr().err
    assert not (tmp_path / "out" / "summary.json").exists()


def test_predicted_memory_grows_with_replicas_and_engine():
    pytest.importorskip("torch")

    def need(replicas, engine):
        return predicted_memory(grid(("sigma=0.1,0.2", "rho0=1"), replicas), Machine("cpu", engine, "float64", 1)).host

    assert need(10**6, "numba") - need(10**5, "numba") > 2 * 9e5 * 2 * 8
    assert need(10**6, "torch") - need(10**5, "torch") > 2 * 9e5 * (4 + 2) * 8


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("eta=1:2:3", (1, 1.5, 2)),
        ("sigma=0.01:1:3:log", (0.01, 0.1, 1)),
        ("batch=4,1,2,2", (1, 2, 4)),
        ("batch=1:2:5", (1, 2)),
    ],
)
def test_an_axis_is_a_range_or_a_list(text, values):
    assert parse_axis("x", text).values == pytest.approx(values)


def test_a_range_with_a_word_too_many_is_refused():
    with pytest.raises(InputError, match="is not a range or list of numbers"):
        parse_axis("x", "eta=1:2:3:log:5")


def test_device_bench_reports_shares_of_limits(tmp_path, capsys, pytestconfig):
    pytest.importorskip("torch")
    options = ["--device", pytestconfig.getoption("--device"), "--threads", "1", "--out", str(tmp_path)]
    with pytest.raises(SystemExit) as leaving:
        cli.main(["device-bench", "--small", "--n", "4", "--d", "12", *options])
    assert leaving.value.code == 0
    found = record(tmp_path)
    assert found["replica_steps_per_second"] > 0
    assert 0 < found["share_of_flops"] < 1
    assert 0 < found["share_of_bandwidth"] < 1.5  # small states stay in the cache
    assert found["limits"]["samples"] > 0
    assert "replica-steps/s" in capsys.readouterr().out


def test_two_diagrams_are_compared_cell_by_cell(tmp_path):
    """Equal to rounding passes; one cell of one replica off, or diverged in one of them alone, does not."""
    xarray = pytest.importorskip("xarray")
    from numerics.run.device_check import compared

    base = {"rho": np.array([[1.0, 2.0]]), "loss": np.array([[0.1, np.nan]]), "diverged": np.array([[0.0, 1.0]])}
    base["rho_replica"] = np.array([[[1.0, 1.0], [2.0, np.nan]]])

    def written(name, **changes):
        values = base | changes
        variables = {key: (tuple(f"{key}_{i}" for i in range(v.ndim)), v) for key, v in values.items()}
        xarray.Dataset(variables).to_netcdf(tmp_path / name, engine="h5netcdf")
        return tmp_path / name

    first = written("first.nc")
    assert compared(first, written("same.nc", rho=base["rho"] * (1 + 1e-9)))["passed"]
    off = base["rho_replica"].copy()
    off[0, 1, 0] *= 1 + 1e-5
    found = compared(first, written("off.nc", rho_replica=off))
    assert not found["passed"]
    assert found["largest_difference"]["rho_replica"] == pytest.approx(1e-5, rel=1e-3)
    assert not compared(first, written("gone.nc", loss=np.array([[0.1, 0.2]])))["passed"]
    assert not compared(first, tmp_path / "missing.nc")["passed"]


def test_the_estimate_is_labelled_and_writes_nothing(tmp_path, capsys, monkeypatch):
    pytest.importorskip("triton")
    from numerics.device.triton_engine import interpreting

    if interpreting():
        pytest.skip("interpreted functions are not compiled")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as leaving:
        cli.main(["device-bench", "--estimate", "--n", "4", "--d", "12"])
    assert leaving.value.code == 0
    assert "ESTIMATE, not measured" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
