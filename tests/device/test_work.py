"""What an ensemble is asked to do, refused where a kernel, which checks no bounds, would read beyond its arrays."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numerics.device.work import Cells  # noqa: E402
from numerics.errors import InputError  # noqa: E402
from tests.device.systems import cells, ensemble, model  # noqa: E402


def settings(name="radial"):
    simulator, start = model(name)
    return simulator, cells(simulator, start, 3)


@pytest.mark.parametrize("replicas", [0, 1, 10])
def test_cells_share_their_replicas_evenly(replicas):
    simulator, given = settings()
    with pytest.raises(InputError, match=f"replicas = {replicas} is not a multiple of the 3 cells"):
        ensemble(simulator, given, np.arange(replicas), torch.device("cpu"), "torch")


@pytest.mark.parametrize("name", ["radial", "coordinatewise", "diagonal-product"])
def test_starts_have_the_layout_of_the_model(name):
    simulator, given = settings(name)
    short = replace(given, starts=given.starts[..., :-1])
    with pytest.raises(InputError, match="shape of states"):
        ensemble(simulator, short, np.arange(3), torch.device("cpu"), "torch")


@pytest.mark.parametrize("name", ["etas", "sigmas", "limits"])
def test_there_is_one_setting_for_each_start(name):
    _, given = settings()
    with pytest.raises(InputError, match=rf"shape of {name} = \(2,\) is not \(3,\)"):
        replace(given, **{name: np.ones(2)})


@pytest.mark.parametrize(("name", "value"), [("etas", -0.1), ("etas", np.nan), ("sigmas", -1.0), ("sigmas", np.inf)])
def test_a_cell_has_a_learning_rate_and_a_noise(name, value):
    _, given = settings()
    with pytest.raises(InputError, match=f"{name[:-1]} = .* is not a finite number of at least 0"):
        Cells(**(vars(given) | {name: np.array([0.1, 0.1, value])}))


def test_a_batch_is_a_whole_number():
    simulator, given = settings()
    for batch in (0, 1.5):
        with pytest.raises(InputError, match=f"batch = {batch}"):
            ensemble(simulator, given, np.arange(3), torch.device("cpu"), "torch", batch=batch)
