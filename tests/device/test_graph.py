"""The graph of a run, by the rules of a card's streams and graphs: on the CPU by `graphs.Card`, or on a card itself."""

import inspect
from contextlib import nullcontext
from functools import cache
from types import ModuleType

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from numerics.device import limits, tensor_engine  # noqa: E402
from numerics.device.work import Buffers, Work  # noqa: E402
from tests.device.graphs import Card, Graph, Refused, Stream, key  # noqa: E402
from tests.device.systems import SEED, cells, ensemble, model  # noqa: E402

LENGTH = 4
#: (first step, steps): whole runs, a rest, a start in the middle of a block, a jump ahead and one back
CALLS = [(0, 10), (10, 1), (11, 9), (100, 4), (3, 5)]
KINDS = [("radial", 1), ("radial", 3), ("coordinatewise", 2), ("diagonal-difference", 1)]


@pytest.fixture
def card(device, monkeypatch):
    """A context in which a card's rules hold: the pretended one's, or none but its own."""
    monkeypatch.setattr(tensor_engine, "_LONGEST_RUN", LENGTH)
    return Card(monkeypatch) if device.type == "cpu" else nullcontext()


def engine_of(kind, device, name, batch, *, recorded):
    """An engine that replays graphs or none, wherever it runs."""
    simulator, start = model(name, 2.5)
    work = Work.of(simulator, batch=batch, seed=SEED)
    buffers = Buffers.of(work, cells(simulator, start, 3), np.arange(6), device=device, dtype=torch.float64)
    return type("Engine", (kind.TensorEngine,), {"records": recorded})(work, buffers)


def taken(engine, calls=CALLS):
    """States after each call; the learning rate differs from step to step."""
    states, found = engine.buffers.states, []
    for first, steps in calls:
        paces = 1.0 / (1 + torch.arange(first, first + steps, dtype=torch.float64) % 7)
        engine.advance(first, paces.to(states.device))
        found.append(states.clone().cpu())
    return found


@pytest.mark.parametrize(("name", "batch"), KINDS)
def test_a_recorded_run_is_the_run_by_hand_bit_for_bit(card, device, name, batch):
    expected = taken(engine_of(tensor_engine, device, name, batch, recorded=False))
    with card:
        found = taken(engine_of(tensor_engine, device, name, batch, recorded=True))
    for one, other in zip(expected, found, strict=True):
        assert torch.isfinite(one).all()
        assert torch.equal(one, other)
    assert len({state.numpy().tobytes() for state in expected}) == len(CALLS)


@pytest.mark.parametrize("batch", [1, 2])
def test_one_graph_is_recorded_and_replayed_for_every_whole_run(monkeypatch, card, device, batch):
    """By hand: whole runs of four in calls of 10, 1, 9, 4 and 5 steps; an odd sample's step comes before them."""
    replays = 2 + 0 + 2 + 1 + 1
    if device.type == "cuda":
        counted = []
        monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", _counting(torch.cuda.CUDAGraph.replay, counted))
    with card:
        taken(engine_of(tensor_engine, device, "radial", batch, recorded=True))
    if device.type == "cuda":
        assert len(counted) == replays
        assert len(set(counted)) == 1
    else:
        assert [graph.replays for graph in card.graphs] == [replays]


def _counting(replay, counted):
    def wrapped(graph):
        counted.append(id(graph))
        replay(graph)

    return wrapped


def test_memory_that_a_graph_finds_is_the_engines_and_stays_where_it_is(card, device):
    """A replay after an engine's memory moved would read what lies there then."""
    if device.type == "cuda":
        pytest.skip("a graph of CUDA's does not tell its addresses")
    with card:
        engine = engine_of(tensor_engine, device, "radial", 1, recorded=True)
        lasting = [engine.block, engine.paces, *vars(engine.buffers).values()]
        places = [tensor.data_ptr() for tensor in lasting]
        taken(engine)
    assert set(card.graphs[0].found) <= {key(tensor) for tensor in lasting}
    assert places == [tensor.data_ptr() for tensor in lasting]
    assert len(card.graphs[0].made) > 100


def test_another_ensemble_has_another_graph(card, device):
    if device.type == "cuda":
        pytest.skip("asks the pretended card")
    with card:
        for name in ("radial", "coordinatewise"):
            taken(engine_of(tensor_engine, device, name, 1, recorded=True))
    assert [graph.replays for graph in card.graphs] == [6, 6]


def test_traffic_is_that_of_the_operations_whether_they_are_recorded_or_not(monkeypatch, card, device):
    """A replay shows its operations to nobody: what is counted while it runs is next to nothing."""
    simulator, start = model("radial")
    found = []
    for recorded in (False, True):
        monkeypatch.setattr(tensor_engine.TensorEngine, "records", recorded)
        with card:
            ours = ensemble(simulator, cells(simulator, start, 2), np.arange(4), device, "torch")
            ours.advance(2 * LENGTH)
            found.append(limits.step_bytes(ours, 2 * LENGTH))
    assert found[0] == found[1] > 20 * 8 * 6


#: what is planted -> (text, what stands there instead): each breaks a graph and nothing else
PLANTED = {
    "learning rates of the first run for all": (
        "        self.paces[: len(paces)].copy_(paces)\n",
        "        if '_replay' not in self.__dict__:\n            self.paces[: len(paces)].copy_(paces)\n",
    ),
    "learning rates elsewhere": ("self.paces[: len(paces)].copy_(paces)", "self.paces = paces.clone()"),
    "draws of the recording for every replay": (
        "blocks = self.block + torch.arange(",
        "blocks = self.block.clone().zero_() + getattr(self, 'at', 0) + torch.arange(",
    ),
    "the counter is not set": ("self.block.fill_(sample >> 1)", "pass"),
    "the counter does not move": ("self.block.add_((offset + count) >> 1)", "pass"),
    "a short run replays the long one": ("and len(paces) == self.run_length and offset == 0", ""),
    "states after the first run by hand are kept": ("        self.buffers.states.copy_(states)\n", ""),
    "the counter after the first run by hand is kept": ("        self.block.copy_(block)\n", ""),
    "recorded on first use": (
        "            with torch.cuda.stream(side):\n                self.run(self.run_length, offset=0)\n",
        "",
    ),
    "no wait for what came before": ("side.wait_stream(torch.cuda.current_stream(device))", "pass"),
    "nobody waits for the first run": ("torch.cuda.current_stream(device).wait_stream(side)", "pass"),
    "recorded on the default stream": ("torch.cuda.graph(graph, stream=side)", "torch.cuda.graph(graph)"),
    "a number is asked for": (
        "for k in range(steps):\n",
        "for k in range(steps):\n            float(self.paces[k].item())\n",
    ),
}


@cache
def by_hand():
    """Without a graph."""
    return taken(engine_of(tensor_engine, torch.device("cpu"), "radial", 1, recorded=False))


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_error_is_noticed(card, device, planted):
    if device.type == "cuda":
        pytest.skip("a card need not notice it in time")
    text, instead = PLANTED[planted]
    source = inspect.getsource(tensor_engine)
    assert source.count(text) == 1
    wrong = ModuleType("wrong")
    exec(compile(source.replace(text, instead), "wrong", "exec"), wrong.__dict__)
    wrong._LONGEST_RUN = LENGTH
    with card:
        try:
            found = taken(engine_of(wrong, device, "radial", 1, recorded=True))
        except Refused:
            return
    assert not all(torch.equal(*pair) for pair in zip(by_hand(), found, strict=True))


def test_the_pretended_card_repeats_on_the_same_memory_and_bakes_numbers_in(monkeypatch):
    """By hand: x += 2 x with the 2 of the recording, three times 1 -> 3 -> 9 -> 27; nothing happens while recording."""
    x, factor = torch.ones(2), 2.0
    with Card(monkeypatch):
        x.mul_(1.0).add_(x * factor * 0.0)
        graph, side = Graph(), Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.graph(graph, stream=side):
            y = x * factor
            x.add_(y)
        assert x.tolist() == [1, 1]
        assert torch.isnan(y).all()
        factor = 5.0
        for expected in (3, 9, 27):
            graph.replay()
            assert x.tolist() == [expected] * 2
        assert y.tolist() == [18, 18]
