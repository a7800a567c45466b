"""The phase jobs on a device: the numbers that numba finds, whatever the engine, and refusals in one line."""

import json

import numpy as np
import pytest
import xarray

torch = pytest.importorskip("torch")

from numerics.run import cli  # noqa: E402
from numerics.run.library import run as outcome  # noqa: E402

TINY = {"data": "gaussian", "features": 12, "n": 4, "replicas": 3, "steps": 400, "records": 10, "seed": 5}
DRIFTING = {"rho0": 1.2, "sigma": 0.05, "decay_factor": 1.1, "eta_fraction": 0.7}


def both(pytestconfig, job, **options):
    on_device = {"device": pytestconfig.getoption("--device"), "engine": "torch"}
    return outcome(job, **TINY, **options), outcome(job, **TINY, **options, **on_device)


@pytest.mark.parametrize(
    ("job", "parametrization"),
    [
        *(("phase2", name) for name in ("radial", "coordinatewise")),
        *(("phase1", name) for name in ("radial", "coordinatewise")),
        *((job, "radial") for job in ("phase3", "late-decay")),
        *(pytest.param(job, "coordinatewise", marks=pytest.mark.full) for job in ("phase3", "late-decay")),
    ],
)
def test_a_job_is_the_same_by_numba_and_on_a_device(pytestconfig, job, parametrization):
    """Equal streams: every observable of every replica to rounding, a decay of the learning rate included."""
    numba, device = both(pytestconfig, job, parametrization=parametrization, **DRIFTING)
    assert np.array_equal(numba.step, device.step)
    assert set(numba.simulation) == set(device.simulation)
    for name, values in numba.simulation.items():
        np.testing.assert_allclose(device.simulation[name], values, rtol=1e-7, atol=1e-12, err_msg=name)
    assert [check.verdict for check in numba.checks] == [check.verdict for check in device.checks]
    for ours, theirs in zip(numba.branches, device.branches, strict=True):
        np.testing.assert_allclose(theirs.final, ours.final, rtol=1e-7)
    assert len(np.unique(numba.simulation["loss"][-1])) == TINY["replicas"]


def test_float32_is_near_and_not_the_same(pytestconfig):
    options = {"device": pytestconfig.getoption("--device"), "engine": "torch", "precision": "float32"}
    exact, rough = outcome("phase2", **TINY, **DRIFTING), outcome("phase2", **TINY, **DRIFTING, **options)
    error = np.max(np.abs(rough.simulation["rho_slow"] / exact.simulation["rho_slow"] - 1))
    assert 1e-9 < error < 1e-4


def test_replicas_keep_their_streams_when_a_shard_begins_later(pytestconfig):
    _, whole = both(pytestconfig, "phase2", **DRIFTING)
    part = outcome(
        "phase2", **(TINY | {"replicas": 2}), **DRIFTING, first_replica=1, engine="torch",
        device=pytestconfig.getoption("--device"),
    )  # fmt: skip
    np.testing.assert_allclose(part.simulation["nu"], whole.simulation["nu"][:, 1:], rtol=1e-12)


def call(*arguments):
    with pytest.raises(SystemExit) as leaving:
        cli.main([*arguments])
    return leaving.value.code


def test_the_record_says_device_engine_and_precision_and_rerun_repeats_them(tmp_path, capsys):
    size = (
        "--data",
        "gaussian",
        "--features",
        "12",
        "--n",
        "4",
        "--replicas",
        "2",
        "--steps",
        "200",
        "--records",
        "10",
    )
    options = ("--engine", "torch", "--precision", "float32", "--rho0", "1")
    assert call("phase2", *size, *options, "--threads", "1", "--out", str(tmp_path / "a")) == 0
    record = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert [record["settings"][name] for name in ("device", "engine", "precision")] == ["cpu", "torch", "float32"]
    assert call("rerun", str(tmp_path / "a" / "summary.json")) == 0
    assert "reproduced bit for bit" in capsys.readouterr().out


@pytest.mark.parametrize("job", ["phase1", "phase2", "phase3", "late-decay", "phase-diagram"])
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--device", "cuda:99"), "device = cuda:99 is not there"),
        (("--device", "tpu"), "device = tpu is no device of this program"),
        (("--engine", "jax"), "engine = jax is unknown"),
        (("--precision", "float32"), "precision = float32 is not numba's here"),
        (("--device", "cuda", "--engine", "numba"), "engine = numba does not run on cuda"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, capsys, job, arguments, line):
    assert call(job, *arguments, "--out", str(tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {line}")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_sweep_takes_a_device_like_any_setting(tmp_path, capsys):
    """The same to rounding as by numba; a card that is missing is refused before anything is written."""
    text = """job = "phase2"
fixed = {{ data = "gaussian", n = 4, features = 20, steps = 400, replicas = 8, records = 10 {} }}
grid = {{ depth = [2, 3] }}"""
    found = {}
    for name, device in {"numba": "", "torch": ', engine = "torch"', "card": ', device = "cuda:99"'}.items():
        config, out = tmp_path / f"{name}.toml", tmp_path / name
        config.write_text(text.format(device))
        code = call("sweep", str(config), "--out", str(out))
        if name == "card":
            assert code == 2
            assert "device = cuda:99 is not there" in capsys.readouterr().err
            assert not out.exists()
            continue
        assert code == 0
        with xarray.open_dataset(out / "sweep.nc") as dataset:
            found[name] = dataset["rho"].values
    assert not np.array_equal(found["numba"], found["torch"])
    np.testing.assert_allclose(found["torch"], found["numba"], rtol=1e-10)


def test_memory_of_a_device_is_refused_before_it_is_taken(monkeypatch, tmp_path, capsys):
    """A card's, as far as one can go without: what is free there is little."""
    from numerics.errors import InputError
    from numerics.run.machine import Machine

    machine = Machine("cpu", "torch", "float64", 1)
    with pytest.raises(InputError, match="would be needed"):
        machine.require_memory(10**15)
    object.__setattr__(machine, "device", "cuda")
    monkeypatch.setattr("numerics.device.ensemble.free_bytes", lambda device: 2**30)
    monkeypatch.setattr(Machine, "torch_device", lambda self: None)
    with pytest.raises(InputError, match="is free there; lower --replicas"):
        machine.require_memory(2**31)
    assert machine.require_memory(2**29) == "memory on cuda: about 0.50 GiB of 1.00 GiB"
