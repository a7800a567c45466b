"""Jobs that train networks: the memory they predict is what they take, and defaults fit a usual machine."""

import numpy as np
import pytest

pytest.importorskip("torch")

from numerics.networks.configurations import CONFIGURATIONS, named
from numerics.run.network_memory import networks
from tests.sweep.measured import GIB, assert_predicted

NETWORKS = "networks --threads 1 --grid 5 --first-decay 2 --branch-steps 3 --eta 0.0001 --surfaces pca"
MEASURED_IN_FULL = {
    "network-law": "network-law --n 200 --widths 900 --steps 10 --records 2 --runs 2 --branch-steps 5",
    "network-law, runs": "network-law --n 20 --widths 2000 --steps 10 --records 20 --runs 40 --branch-steps 5",
    "network-law, digits": "network-law --n 60 --classes 10 --widths 100 --steps 10 --records 2 --runs 2 "
    "--branch-steps 5",
    "networks": f"{NETWORKS} --n-train 200 --seeds 6 --widths 1000,500 --batch 50 --last-decay 12 --decays 4",
    "networks, seeds": f"{NETWORKS} --n-train 200 --seeds 30 --widths 64 --batch 100 --last-decay 40 --decays 8",
    "networks, wide": f"{NETWORKS} --n-train 40 --seeds 2 --widths 1500,1500 --batch 10 --last-decay 8 --decays 2",
}


@pytest.mark.full
@pytest.mark.parametrize("words", MEASURED_IN_FULL.values(), ids=MEASURED_IN_FULL)
def test_the_measured_peak_is_the_predicted_one_within_bounds(tmp_path, words):
    assert_predicted(words, tmp_path)


def cifar_files(folder, each=200):
    """Files in CIFAR-10's format: noise around a mean image per class."""
    source = np.random.default_rng(0)
    means = source.integers(60, 190, (10, 3072))
    labels = np.arange(each) % 10
    for name in (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"):
        pixels = np.clip(means[labels] + source.normal(0, 40, (each, 3072)), 0, 255)
        np.concatenate([labels[:, None], pixels], axis=1).astype(np.uint8).tofile(folder / name)


@pytest.mark.full
@pytest.mark.parametrize("surfaces", ["", "curved"])
def test_the_papers_network_takes_what_is_predicted(tmp_path, surfaces):
    """VGG-11 on batches of 125, all branches; few steps, few examples looked at."""
    cifar_files(tmp_path)
    short = "--n-train 250 --first-decay 2 --last-decay 30 --branch-steps 2 --grid 5 --landscape-train 20 --threads 1"
    command = f"networks --config cifar10-small --data-folder {tmp_path} {short} --eta 0.01"
    assert_predicted(f"{command} --surfaces={surfaces}", tmp_path / "out")


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_configuration_fits_a_machine_of_16_gib(name):
    chosen = named(name)
    every = ("fresh", "minibatch", "static", "none")
    assert networks(chosen, chosen.kinds, law=False, surfaces=True) < 12 * GIB
    assert networks(chosen, every, law=False, surfaces=True) < 12 * GIB
