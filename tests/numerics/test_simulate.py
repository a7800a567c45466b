"""`simulate` as a user meets it: what it writes, what it refuses, where it says that there is no prediction."""

import json

import numpy as np
import pytest
import xarray

from numerics import files
from numerics.errors import InputError
from numerics.run import cli
from numerics.run.simulate_options import DYNAMICS, NOISES, choice

SEPARABLE = ["--parametrization", "coordinatewise"]
QUICK = ["--small", "--replicas", "4", "--records", "20", "--steps", "600"]


def run(capsys, *arguments):
    """Exit code, standard output and standard error."""
    with pytest.raises(SystemExit) as stop:
        cli.main(["simulate", *(str(argument) for argument in arguments)])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def test_it_writes_figure_curves_and_summary(capsys, tmp_path):
    code, out, _ = run(capsys, "--sampling", "shuffle", *QUICK, "--out", tmp_path)
    assert code == 0
    assert {"simulate.svg", "simulate.pdf", "simulate.png", "simulate.nc", "summary.json"} <= {
        path.name for path in tmp_path.iterdir()
    }
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["prediction"]["rho"]["claim"] == "C4"
    assert len(summary["simulation"]["rho_mean"]) == len(summary["prediction"]["floor"]["values"])
    with xarray.open_dataset(tmp_path / "simulate.nc") as curves:
        assert curves["rho_slow"].dims == ("step", "replica")
        assert np.isfinite(curves["rho_slow_law"].values).all()
    assert "drift: C4" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dynamics", "momentum", "--noise", "rademacher"], "floor: C13"),
        (["--dynamics", "momentum", "--sampling", "shuffle"], "floor: C13"),
        (["--dynamics", "gradient-flow"], "floor: C10"),
        (["--dynamics", "slow-law", "--sampling", "without-replacement"], "slow-law is the prediction itself"),
        (["--noise", "flips"], "floor: C11, leading order"),
        (["--noise", "minibatch"], "floor: C10"),
        (["--noise", "static"], "drift: C10"),
        (["--eta", "0.2", "--force"], "no prediction: eta exceeds the stability limit"),
        ([*SEPARABLE, "--sampling", "shuffle"], "share of the way at step 600"),
        ([*SEPARABLE, "--noise", "isotropic"], "derived where that is a ray"),
        ([*SEPARABLE, "--noise", "static"], "drift: C10"),
        ([*SEPARABLE, "--noise", "dropout"], "share of the way at step 600"),
        ([*SEPARABLE, "--dynamics", "gradient-flow"], "floor: C10"),
        ([*SEPARABLE, "--dynamics", "slow-law", "--noise", "flips"], "drift: C11"),
        ([*SEPARABLE, "--eta", "1.5", "--force"], "diverged: 4 of 4"),
    ],
)
def test_every_prediction_is_named_or_its_absence_explained(capsys, monkeypatch, tmp_path, arguments, said):
    monkeypatch.setattr(files, "write_figure", lambda stem, figure: (tmp_path / "none.png",))
    code, out, err = run(capsys, *arguments, *QUICK, "--out", tmp_path)
    assert code == 0, err
    assert said in out


@pytest.mark.full
@pytest.mark.parametrize(
    "arguments",
    [
        ["--sampling", "without-replacement", "--noise", "rademacher"],
        ["--sampling", "shuffle", "--noise", "student"],
        ["--dynamics", "sde"],
        ["--dynamics", "sde2"],
        ["--noise", "isotropic"],
        ["--noise", "dropout"],
        ["--dynamics", "momentum", "--noise", "flips", "--momentum", "0.5"],
        [*SEPARABLE],
        [*SEPARABLE, "--sampling", "shuffle", "--noise", "student"],
        [*SEPARABLE, "--dynamics", "sde"],
        [*SEPARABLE, "--dynamics", "sde2"],
        [*SEPARABLE, "--noise", "isotropic"],
        [*SEPARABLE, "--noise", "dropout"],
        ["--parametrization", "diagonal-product", "--sampling", "without-replacement"],
        ["--parametrization", "sinh", "--noise", "static"],
    ],
)
def test_a_small_run_agrees_with_its_prediction(capsys, tmp_path, arguments):
    code, out, _ = run(capsys, *arguments, "--small", "--out", tmp_path)
    assert code == 0
    verdicts = [check["verdict"] for check in json.loads((tmp_path / "summary.json").read_text())["checks"]]
    assert "fail" not in verdicts, out
    assert "pass" in verdicts, out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--dynamics", "sgdd"], "dynamics = sgdd is unknown; choose sgd"),
        (["--dynamics", "gradient-flow", "--noise", "gaussian"], "gradient flow sees neither batches nor fresh noise"),
        (["--dynamics", "sde", "--sampling", "shuffle"], "which draws no batches; leave it out"),
        (["--momentum", "0.9"], "momentum = 0.9 has no meaning for dynamics = sgd; leave it out, or --dynamics momen"),
        (["--noise", "student", "--freedom", "3"], "freedom = 3 is not above 4"),
        (["--noise", "flips", "--flip", "0"], "flip = 0 is not in (0, 1/2)"),
        (["--sampling", "shuffle", "--batch", "3", "--small"], "batch = 3 does not divide the 8 rows"),
        (["--sampling", "without-replacement", "--batch", "9", "--small"], "batch = 9 exceeds the 8 rows"),
        (["--eta", "5", "--small"], "exceeds the mean-square stability limit"),
        ([*SEPARABLE, "--eta", "5", "--small"], "exceeds the mean-square stability limit"),
        (["--parametrization", "cubic", "--small"], "parametrization = cubic is unknown; choose one of radial"),
        (["--parametrization", "tanh", "--rho0", "20", "--small"], "outside the range of the parametrization; choose"),
        (["--steps", "many"], "steps = many is neither a whole number nor auto"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(capsys, tmp_path, arguments, line):
    code, _, err = run(capsys, *arguments, "--out", tmp_path / "new")
    assert code == 2
    assert len([text for text in err.splitlines() if text.strip()]) == 1
    assert line in err


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_a_dynamics_takes_a_noise_or_says_why_not(dynamics):
    taken = [noise for noise in NOISES if _refusal(dynamics, noise) is None]
    assert len(taken) == {"sgd": 8, "momentum": 8, "gradient-flow": 1, "sde": 2, "sde2": 2, "slow-law": 4}[dynamics]
    refusals = [_refusal(dynamics, noise) for noise in NOISES if noise not in taken]
    assert all("does not go with dynamics" in line for line in refusals)


def _refusal(dynamics, noise):
    try:
        assert choice(dynamics, noise, None, {}).noise == noise
    except InputError as error:
        return str(error)
    return None
