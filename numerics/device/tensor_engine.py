"""The engine made of torch operations on all replicas at once; knows no law.

The same functions run on any device: on a card a run of steps is captured once as a CUDA graph and replayed, elsewhere
it is called. Nothing in a step waits for the host, so that it can be captured. Draws are made for several steps at a
time, from a block counter that lives on the device.
"""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from numerics import streams
from numerics.device import draws
from numerics.device.work import Buffers, Work
from numerics.specialise import step_formulas
from theory import lower

#: samples drawn at once, all replicas together; one graph holds their steps
_SAMPLES_AT_ONCE = 1 << 22
_LONGEST_RUN = 64
#: temporaries of a run: int64 or real numbers per sample drawn, and states
DRAW_COPIES, STATE_COPIES = 7, 6


def run_length(replicas: int, batch: int) -> int:
    """Steps per run: even, so that a run begins at a whole block of two samples whatever the batch."""
    wanted = _SAMPLES_AT_ONCE // (replicas * batch)
    return max(2, min(_LONGEST_RUN, wanted // 2 * 2))


class TensorEngine:
    """Steps all replicas of the buffers in place."""

    def __init__(self, work: Work, buffers: Buffers) -> None:
        self.work, self.buffers = work, buffers
        self.functions = lower.tensors(step_formulas(work.parametrization))
        states = buffers.states
        self.block = torch.zeros(1, dtype=torch.int64, device=states.device)
        self.paces = torch.zeros(self.run_length, dtype=states.dtype, device=states.device)  # of one run

    @cached_property
    def run_length(self) -> int:
        """Steps per run."""
        return run_length(self.buffers.count, self.work.batch)

    @property
    def records(self) -> bool:
        """Whether a run is replayed from a graph."""
        return self.buffers.states.device.type == "cuda"

    def advance(self, first: int, paces: Tensor) -> None:
        """See `ensemble.Engine`. Returns before a card has finished."""
        sample, steps = first * self.work.batch, len(paces)
        self.block.fill_(sample >> 1)
        lead = min(sample & 1, steps)  # an odd sample begins in the middle of a block
        if lead:
            self._run_at(paces[:1], offset=1)
        for at in range(lead, steps, self.run_length):
            self._run_at(paces[at : at + self.run_length], offset=0)

    def _run_at(self, paces: Tensor, offset: int) -> None:
        """A run whose paces lie where it looks for them; a whole one as it was recorded."""
        self.paces[: len(paces)].copy_(paces)
        if self.records and len(paces) == self.run_length and offset == 0:
            self._replay()
        else:
            self.run(len(paces), offset)

    def run(self, steps: int, offset: int) -> None:
        """Draw for steps and take them; the first sample is number offset of the counter's block."""
        batch, count = self.work.batch, steps * self.work.batch
        blocks = self.block + torch.arange((offset + count + 1) // 2, device=self.block.device)
        normals, words = draws.samples(
            self.work.key, streams.PURPOSES["sgd"], self.buffers.replicas, blocks, self.buffers.states.dtype
        )
        rows = (words * len(self.work.y)) >> 32
        step = self._radial_step if self.work.radial else self._separable_step
        for k in range(steps):
            own = slice(offset + k * batch, offset + (k + 1) * batch)
            step(self.buffers.rates * self.paces[k], normals[own], rows[own])
        self.block.add_((offset + count) >> 1)

    @cached_property
    def _replay(self) -> Callable[[], None]:
        """`run` at its full length as a graph. By hand first, as the libraries set themselves up on first use; then

        recorded; states and counter put back.
        """
        device = self.buffers.states.device
        states, block = self.buffers.states.clone(), self.block.clone()
        with torch.cuda.device(device):
            side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(side):
                self.run(self.run_length, offset=0)
            torch.cuda.current_stream(device).wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=side):  # torch's own stream may belong to another card
                self.run(self.run_length, offset=0)
        self.buffers.states.copy_(states)
        self.block.copy_(block)
        return graph.replay  # holds the graph, and not the engine: without a cycle both go when the last user does

    def _radial_step(self, rates: Tensor, normals: Tensor, rows: Tensor) -> None:
        """One step of (X u, |u|^2, nu) from rates ``(R,)``, normals and rows ``(B, R)``.

        A replica whose |u|^2 has left [0, limit] gets a gain that is NaN, and that makes all of its state NaN.
        """
        b, n = self.buffers, len(self.work.y)
        s, q, nu = b.states[:n], b.states[n], b.states[n + 1]
        outside = ~((q >= 0) & (q <= b.limits))
        slope = self.functions["gain_slope"](q)
        level = (torch.zeros_like(q) + self.functions["gain"](q)).masked_fill_(outside, torch.nan)
        score = s.gather(0, rows)
        error = rates * (level * score - b.y.take(rows) - b.sigmas * normals)
        weight = error * level
        keep = 1 - slope * (error * score).sum(0)
        new = keep * s
        for i in range(self.work.batch):
            new.sub_(b.rows.index_select(1, rows[i]).mul_(weight[i]))
        change = keep * (weight * score).sum(0) + (weight * new.gather(0, rows)).sum(0)
        q.copy_(keep * keep * q - change)
        nu.mul_(keep)
        s.copy_(new)

    def _separable_step(self, rates: Tensor, normals: Tensor, rows: Tensor) -> None:
        """One step of u ``(R, factors, d)`` from rates ``(R,)``, normals and rows ``(B, R)``.

        A coordinate of w beyond the limit is NaN from then on, and that makes all of the replica's state NaN.
        """
        b = self.buffers
        first, last = b.states[:, 0], b.states[:, -1]
        w = self.functions["value"](first, last)
        w = w.masked_fill(~(w.abs() <= b.limits[:, None]), torch.nan)
        v = torch.zeros_like(w)
        for i in range(self.work.batch):
            lines = b.rows.index_select(0, rows[i])
            error = (lines * w).sum(-1) - b.y.take(rows[i]) - b.sigmas * normals[i]
            v.add_(lines.mul_(error[:, None]))
        v.mul_(rates[:, None])
        new_first = first - v * self.functions["slope_a"](first, last)
        if b.states.shape[1] == 2:
            last.sub_(v * self.functions["slope_b"](first, last))
        first.copy_(new_first)
