"""The two commands as a user meets them: what they write, that they resume, and what they refuse."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numerics.run.cli import main  # noqa: E402

TINY = [
    *("networks", "--n-train", "30", "--seeds", "2", "--widths", "6", "--batch", "6", "--threads", "1", "--grid", "7"),
    *("--first-decay", "20", "--last-decay", "320", "--decays", "5", "--branch-steps", "40", "--eta", "0.02"),
]
LAW = [
    *(
        "network-law",
        "--n",
        "8",
        "--components",
        "6",
        "--widths",
        "8",
        "--steps",
        "300",
        "--records",
        "2",
        "--runs",
        "2",
    ),
    *("--branch-steps", "50"),
]


def run(arguments, out):
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--out", str(out)])
    return ended.value.code


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    torch.set_num_threads(1)
    assert run([*TINY, "--surfaces", "pca,filter"], folder) == 0
    return folder


def test_networks_writes_figures_labelled_data_and_a_summary(networks):
    for stem in ("networks", *(f"landscape-{kind}" for kind in ("pca", "filter"))):
        for kind in ("png", "svg", "pdf"):
            assert (networks / f"{stem}.{kind}").stat().st_size > 1000
    import xarray

    data = xarray.load_dataset(networks / "networks.nc", engine="h5netcdf")
    assert data["final_test_loss_fresh"].shape == (6, 2)
    assert data["pca_test_loss"].shape == (7, 7)
    summary = json.loads((networks / "summary.json").read_text())
    np.testing.assert_allclose(summary["late_decay"]["fresh"]["final_test_loss"], data["final_test_loss_fresh"])
    assert set(summary["late_decay"]) == {"fresh", "minibatch", "static", "none"}
    assert summary["provenance"]["threads"] == 1
    assert 0 <= summary["landscapes"]["pca"]["train"]["border"] <= 1
    assert len(summary["landscapes"]["pca"]["explained_variance"]) == 2


def test_a_second_run_reads_the_checkpoints_and_ends_with_the_same_numbers(networks):
    before = json.loads((networks / "summary.json").read_text())
    assert run([*TINY, "--surfaces", "pca"], networks) == 0
    after = json.loads((networks / "summary.json").read_text())
    assert after["late_decay"] == before["late_decay"]
    assert after["landscapes"]["pca"] == before["landscapes"]["pca"]


def test_the_law_predicts_the_late_decay_curve_without_training_a_branch(tmp_path):
    """10 digits, 2 seeds; the branches fall by 25 % or more, of which the law may miss 2 % of the loss."""
    small = ["--n-train", "10", "--widths", "24", "--seeds", "2", "--kinds", "fresh,minibatch", "--eta", "0.1"]
    times = ["--batch", "5", "--first-decay", "500", "--last-decay", "4000", "--decays", "3", "--branch-steps", "500"]
    assert run(["networks", *small, *times, "--surfaces", "", "--threads", "1", "--law"], tmp_path) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["saturation"]["reached"]
    predicted, simulated = (np.mean(summary["law"][name], axis=1) for name in ("predicted", "simulated"))
    resolution = 0.02
    np.testing.assert_allclose(predicted, simulated, rtol=resolution)
    assert simulated[-1] < 0.75 * simulated[0]
    assert summary["late_decay"]["minibatch"]["correlation"] is None  # nothing moves: no rank to speak of
    assert len(summary["law"]["checks"]) == len(predicted) - 1


def test_network_law_writes_figure_data_and_summary(tmp_path):
    assert run(LAW, tmp_path) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert len(summary["law"]["sharpness"]) == len(summary["simulation"]["sharpness_mean"]) == 3
    assert summary["simulation"]["sharpness_sem"][0] == 0
    assert len(summary["late_decay"]["predicted"]) == 3
    for kind in ("png", "svg", "pdf", "nc"):
        assert (tmp_path / f"network-law.{kind}").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["networks", "--config", "imagenet"], "configuration = imagenet is not known"),
        (["networks", "--kinds", "loud"], "kind = loud is not known; choose among fresh"),
        (["networks", "--config", "mnist"], "data folder = None is not a folder; pass --data-folder"),
        (["networks", "--config", "cifar10", "--data-folder", "."], "data_batch_1.bin does not exist"),
        (["networks", "--widths", "a,b"], "widths = a,b is not a list of whole numbers"),
        (["networks", "--seeds", "1"], "seeds = 1 leave no standard error"),
        (["networks", "--batch", "500"], "batch = 500 exceeds the 40 training examples"),
        (["networks", "--law", "--momentum", "0.9"], "momentum = 0.9 is outside the conditions of the law (C3)"),
        (["networks", "--law", "--activation", "relu"], "network = relu mlp is outside the conditions of the law"),
        (
            ["networks", "--law", "--kinds", "none"],
            "kinds = none is outside the conditions of the law (C3); name fresh",
        ),
        (["networks", "--threads", "0"], "threads = 0 is below 1"),
        (["networks", "--noise", "0"], "noise = 0 makes fresh the same as minibatch; pass --noise or other --kinds"),
        (["networks", "--landscape-train", "0"], "landscape train = 0 is below 1"),
        (["networks", "--landscape-held-out", "-3"], "landscape held out = -3 is below 1"),
        ([*TINY, "--eta", "50"], "eta = 50 makes the loss of the trunk infinite or NaN at step"),
        (["network-law", "--stability", "2.5"], "mean-square stability limit"),
        (["network-law", "--widths", "1", "--n", "60"], "parameters p = 23 is not above the 60 outputs"),
        (["network-law", "--classes", "5"], "classes = 5 is neither 2"),
        (["network-law", "--sigma", "-1"], "sigma = -1 is not positive"),
    ],
)
def test_bad_input_is_one_line_and_code_2(arguments, message, tmp_path, capsys):
    assert run(arguments, tmp_path) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last


def test_the_list_shows_every_configuration(tmp_path, capsys):
    from numerics.networks.configurations import CONFIGURATIONS

    assert run(["networks", "--list"], tmp_path) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in CONFIGURATIONS)


def killed_after(seconds, folder):
    command = [sys.executable, "-m", "numerics.run", *TINY, "--surfaces", "pca", "--out", str(folder)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=Path.cwd())
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    return child.returncode


@pytest.mark.full
def test_killed_again_and_again_the_command_ends_with_the_same_bits(networks, tmp_path):
    """SIGKILL after ever longer times until it gets through; then every checkpoint equals the undisturbed run's."""
    kills, patience = 0, 3.0
    while killed_after(patience, tmp_path) != 0:
        kills, patience = kills + 1, patience * 1.2
        assert patience < 120
        time.sleep(0.1)
    assert kills > 1
    others = {"landscape-curved", "landscape-branches", "landscape-filter"}  # surfaces that were not asked for here
    saved = [path for path in sorted((networks / "state").rglob("*-*.ckpt")) if path.parent.name not in others]
    assert len(saved) > 20
    for path in saved:
        assert (tmp_path / path.relative_to(networks)).read_bytes() == path.read_bytes()


def measured_gains():
    from numerics.networks.configurations import named
    from numerics.networks.throughput import landscape_gain, training_gain

    torch.set_num_threads(2)
    chosen = named("digits")
    examples = chosen.examples(seed=0, folder=None)
    yield training_gain(chosen, examples, seed=0, steps=64).ratio
    yield landscape_gain(chosen, examples, seed=0, points=256, held_out=len(examples.x)).ratio


@pytest.mark.full
def test_batched_training_is_five_times_faster_than_one_after_another():
    """Issue 4, item 2, on two threads of an otherwise idle machine."""
    assert next(measured_gains()) >= 5


@pytest.mark.full
def test_a_batched_landscape_is_five_times_faster_than_one_after_another():
    """Issue 4, item 4: the default's landscape, 40 training and 40 held-out examples, two idle threads."""
    assert list(measured_gains())[1] >= 5


@pytest.mark.full
def test_the_default_experiment_reaches_its_benefit_and_the_law_says_so(tmp_path):
    """Issue 4, items 3 and 5, with the default command's own settings: benefit, controls, and the law's curve."""
    assert run(["networks", "--surfaces", "", "--law"], tmp_path) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    found = summary["late_decay"]
    fresh = found["fresh"]
    assert summary["saturation"]["reached"]
    assert fresh["steps"][-1] >= 100 * fresh["steps"][0]
    assert len(fresh["steps"]) >= 6
    assert fresh["monotone"]
    assert fresh["pooled"] <= -0.9
    assert fresh["change"]["high"] <= -0.25
    for control in ("minibatch", "none"):
        assert -0.05 < found[control]["change"]["low"] < found[control]["change"]["high"] < 0.05
    assert {check["verdict"] for check in summary["law"]["checks"]} == {"pass"}
