"""A step asks nothing of the host, so that a card can record it: what can be tested of that without one."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from numerics.device import limits  # noqa: E402
from numerics.device.ensemble import predicted_bytes  # noqa: E402
from numerics.device.tensor_engine import TensorEngine, run_length  # noqa: E402
from numerics.device.work import Buffers, Work  # noqa: E402
from tests.device.graphs import WAITING  # noqa: E402
from tests.device.systems import cells, ensemble, model  # noqa: E402


class Recorded(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func.overloadpacket).removeprefix("aten."))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("name", "batch"), [("radial", 1), ("radial", 3), ("diagonal-difference", 2)])
def test_a_run_never_waits_for_the_host(name, batch):
    simulator, start = model(name, 2.5)
    found = ensemble(simulator, cells(simulator, start, 2), [0, 1], torch.device("cpu"), "torch", batch=batch)
    with Recorded() as recorded:
        found.engine.run(4, offset=0)
    assert "gather" in recorded.names or "index_select" in recorded.names
    assert not set(recorded.names) & set(WAITING)


def test_waiting_for_the_host_is_noticed():
    with Recorded() as recorded:
        torch.zeros(1).item()
    assert set(recorded.names) & set(WAITING)


@pytest.mark.parametrize(("name", "batch"), [("radial", 1), ("radial", 3), ("diagonal-difference", 2)])
def test_every_tensor_of_a_run_is_made_on_the_ensembles_device(name, batch):
    """On the device "meta" an operand made on the CPU is refused, as it would be on a card."""
    simulator, start = model(name, 2.5)
    work = Work.of(simulator, batch=batch, seed=0)
    buffers = Buffers.of(work, cells(simulator, start, 2), np.arange(2), device="meta", dtype=torch.float64)
    engine = TensorEngine(work, buffers)
    engine.run(4, offset=0)
    engine.run(3, offset=1 if batch % 2 else 0)
    assert buffers.states.device.type == "meta"
    stray = TensorEngine(work, replace(buffers, rates=torch.zeros(2)))
    with pytest.raises(RuntimeError):
        stray.run(4, offset=0)


@pytest.mark.parametrize("replicas", [1, 1000, 10**6])
@pytest.mark.parametrize("batch", [1, 3, 64])
def test_a_run_begins_at_a_whole_block(replicas, batch):
    assert run_length(replicas, batch) % 2 == 0


@pytest.mark.parametrize("name", ["radial", "diagonal-product"])
def test_predicted_memory_bounds_what_a_run_allocates(name):
    """The peak of live bytes, by torch's own profiler of the CPU's allocations."""
    simulator, start = model(name)
    settings, count = cells(simulator, start, 1), 3000
    cpu, work = torch.device("cpu"), Work.of(simulator, batch=2, seed=0)
    predicted = predicted_bytes(work, count, "torch", "float64", cpu)
    options = {"activities": [torch.profiler.ProfilerActivity.CPU], "acc_events": True}  # older ones warn without it
    with torch.profiler.profile(profile_memory=True, **options) as profile:
        found = ensemble(simulator, settings, np.arange(count), cpu, "torch", batch=2)
        found.engine.run(run_length(count, 2), offset=0)
    sizes = [event.nbytes() for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    peak = max(np.cumsum(sizes))
    assert 0.4 * predicted < peak < predicted


def test_traffic_counts_operands_and_results_but_no_views():
    x, y = torch.zeros(10, dtype=torch.float64), torch.ones(10, dtype=torch.float64)
    with limits.Traffic() as traffic:
        _ = (x + y)[2:5]
    assert traffic.bytes == 3 * 80
