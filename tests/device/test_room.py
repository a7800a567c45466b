"""Memory of a device: given back with an ensemble's last user, and one line where it does not suffice."""

import gc
import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numerics.device import ensemble as ensembles  # noqa: E402
from numerics.device.ensemble import predicted_bytes  # noqa: E402
from numerics.device.work import Work  # noqa: E402
from numerics.errors import InputError  # noqa: E402
from numerics.run import cli  # noqa: E402
from tests.device.systems import cells, ensemble, model  # noqa: E402

DIAGRAM = ("phase-diagram", "--data", "gaussian", "--features", "12", "--n", "4", "--replicas", "2", "--steps", "20")


@pytest.fixture
def no_collector():
    gc.disable()
    yield
    gc.enable()


def call(out, *arguments):
    with pytest.raises(SystemExit) as leaving:
        cli.main([*arguments, "--engine", "torch", "--threads", "1", "--out", str(out)])
    return leaving.value.code


def test_memory_goes_with_the_last_user(no_collector, device, engine):
    """An object that refers to itself would keep a card's memory until Python collects its garbage."""
    simulator, start = model("radial")
    found = ensemble(simulator, cells(simulator, start, 1), np.arange(3), device, engine)
    found.advance(130)
    states = weakref.ref(found.buffers.states)
    assert states() is not None
    del found
    assert states() is None


def test_a_diagram_has_one_ensemble_at_a_time(monkeypatch, tmp_path, no_collector):
    pytest.importorskip("xarray")
    alive, most = weakref.WeakSet(), []

    class Counted(ensembles.Ensemble):
        def __init__(self, *arguments, **options):
            most.append(len(alive))
            super().__init__(*arguments, **options)
            alive.add(self.buffers.states)

    monkeypatch.setattr(ensembles, "Ensemble", Counted)
    assert call(tmp_path / "out", *DIAGRAM, "--x", "batch=1,2,3", "--y", "sigma=0.05") == 0
    assert most == [0, 0, 0]


def refused():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def refused_while_recording():
    try:
        refused()
    finally:
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture")


@pytest.mark.parametrize("failing", [refused, refused_while_recording])
def test_a_device_that_is_full_is_one_line(monkeypatch, tmp_path, capsys, failing):
    monkeypatch.setattr("numerics.device.tensor_engine.TensorEngine.run", lambda *_, **__: failing())
    assert call(tmp_path / "out", *DIAGRAM, "--x", "batch=1", "--y", "sigma=0.05") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: memory = ")
    assert error.endswith(" was predicted, and cpu has no more to give; lower --replicas")
    assert not (tmp_path / "out" / "summary.json").exists()


def test_another_error_of_a_device_is_no_matter_of_memory():
    with pytest.raises(RuntimeError, match="illegal address"), ensembles.one_line_for_full(torch.device("cpu"), 1):
        raise RuntimeError("illegal address")


def test_a_full_card_is_refused(device, engine):
    """What a card allows to this process is set below what is needed."""
    if device.type != "cuda":
        pytest.skip("asks a card")
    simulator, start = model("radial")
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-4, device)
    try:
        with pytest.raises(InputError, match=f"{device} has no more to give"):
            ensemble(simulator, cells(simulator, start, 1), np.arange(10**6), device, engine)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


def test_beside_a_graphs_memory_a_card_holds_a_shorter_runs():
    simulator, _ = model("radial")
    work, places = Work.of(simulator, batch=1, seed=0), (torch.device("cpu"), torch.device("cuda", 0))
    cpu, card = (predicted_bytes(work, 10**5, "torch", "float64", place) for place in places)
    resident = predicted_bytes(work, 10**5, "triton", "float64", places[1])
    assert card - resident == 2 * (cpu - resident)
