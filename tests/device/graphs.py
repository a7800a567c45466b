"""A card that is not there: streams and graphs of `torch.cuda` on the CPU, with their rules checked.

While a graph is recorded its operations change nothing that was there before; a replay repeats them on the same memory
with the arguments they were recorded with. What waits for the host, runs on another stream or is used for the first
time is refused while recording, as a card may; and so is, at any time, an operation that touches what another stream
has not been waited for (happens-before by a clock per stream).
"""

from collections import Counter, defaultdict
from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode

#: what waits for the device, or copies from the host: a recording cannot hold it
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "lift_fresh", "item", "is_nonzero")


class Refused(RuntimeError):
    """What a card would refuse, or get wrong."""


class Stream:
    """Operations in order; others in no order with them until waited for."""

    def __init__(self, _device=None):
        self.seen = defaultdict(int)  # stream -> how many of its operations come before what follows here

    def wait_stream(self, other):
        for stream, count in other.seen.items():
            self.seen[stream] = max(self.seen[stream], count)


class Graph:
    """What was recorded: operations, the memory made for them, and the memory they found."""

    def __init__(self):
        self.calls, self.made, self.found, self.replays = [], {}, {}, 0

    def replay(self):
        self.replays += 1
        for func, args, kwargs, out in self.calls:
            again = func(*args, **kwargs)
            for old, new in zip(tensors(out), tensors(again), strict=True):
                if key(old) != key(new):
                    old.copy_(new)


class Card(TorchDispatchMode):
    """As a context: the card's rules hold for every operation inside. monkeypatch puts it in place of torch.cuda."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.default = Stream()
        self.streams, self.graphs, self.recording, self.done = [self.default], [], None, Counter()
        self.writes, self.reads, self.alive = {}, defaultdict(dict), {}
        places = {"Stream": Stream, "CUDAGraph": Graph, "graph": self.record, "stream": self.on, "device": self.on}
        places |= {"current_stream": lambda _=None: self.streams[-1], "synchronize": self.synchronize}
        for name, replacement in places.items():
            monkeypatch.setattr(torch.cuda, name, replacement)

    @contextmanager
    def on(self, place):
        self.streams.append(place if isinstance(place, Stream) else self.streams[-1])
        yield
        self.streams.pop()

    def synchronize(self, _device=None):
        if self.recording:
            raise Refused("the host waits while a graph is recorded")

    @contextmanager
    def record(self, graph, stream=None):
        if stream in (None, self.default):
            raise Refused("the default stream cannot be recorded")
        with self.on(stream):
            self.recording = graph
            self.graphs.append(graph)
            yield
            self.recording = None
        for memory, before in graph.found.values():
            if before is not None:
                memory[:] = before
        for memory in graph.made.values():
            memory[:] = 255  # NaN, and no row's number

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func.is_view:
            return func(*args, **kwargs)
        name, changed = func.overloadpacket.__name__, written(func, args, kwargs)
        before = {key(t): whole(t).copy() for t in changed} if self.recording else {}
        out = func(*args, **kwargs)
        operands = {key(t): t for t in tensors((args, kwargs))}
        fresh = {key(t): t for t in tensors(out) if key(t) not in operands}
        if self.recording:
            self.keep(name, (func, args, kwargs, out), operands, fresh, before)
        else:
            self.order(operands, {**{key(t): t for t in changed}, **fresh})
            self.done[name] += 1
        return out

    def order(self, operands, changed):
        """Raise Refused where an operation and an earlier one on the same memory have no order."""
        stream = self.streams[-1]
        stream.seen[stream] += 1
        for at, tensor in {**operands, **changed}.items():
            self.alive[at] = tensor.untyped_storage()  # or its number would be given to another
            earlier = [self.writes[at]] if at in self.writes else []
            earlier += self.reads[at].items() if at in changed else []
            if any(stream.seen[other] < count for other, count in earlier):
                raise Refused("a stream touches what another has not been waited for")
            if at in changed:
                self.writes[at] = (stream, stream.seen[stream])
            self.reads[at][stream] = stream.seen[stream]

    def keep(self, name, call, operands, fresh, before):
        """Into the graph that is recorded."""
        graph = self.recording
        if name in WAITING:
            raise Refused(f"{name} waits for the host while a graph is recorded")
        if not self.done[name]:
            raise Refused(f"{name} is used for the first time while a graph is recorded")
        graph.calls.append(call)
        graph.made |= {at: whole(tensor) for at, tensor in fresh.items()}
        for at, tensor in operands.items():
            if at not in graph.made and (at not in graph.found or graph.found[at][1] is None):
                graph.found[at] = (whole(tensor), before.get(at))


def key(tensor):
    """Of a tensor's memory."""
    return tensor.untyped_storage()._cdata


def whole(tensor):
    """All bytes of its memory."""
    return torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage()).numpy()


def written(func, args, kwargs):
    """Operands that an operation changes in place."""
    places = zip(func._schema.arguments, args, strict=False)
    named = [(argument, kwargs[argument.name]) for argument in func._schema.arguments if argument.name in kwargs]
    return [t for argument, value in [*places, *named] if argument.is_write for t in tensors(value)]


def tensors(value):
    """All tensors in nested tuples, lists and dictionaries."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return tensors(list(value.values()))
    return [tensor for item in value for tensor in tensors(item)] if isinstance(value, list | tuple) else []
