"""The engine made of torch operations on all replicas at once; knows no law.

The same functions run on any device: on a card a run of steps is captured once as a CUDA graph and replayed, elsewhere
it is called. Nothing in a step waits for the host, so that it can be captured. Draws are made for several steps at a
time, from a block counter that lives on the device.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

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
        self.step = self._radial_step if work.radial else self._separable_step
        self.block = torch.zeros(1, dtype=torch.int64, device=buffers.states.device)

    @cached_property
    def run_length(self) -> int:
        """Steps per run."""
        return run_length(self.buffers.count, self.work.batch)

    def advance(self, first: int, steps: int) -> None:
        """Advance by steps, the first of them number first. Returns before a card has finished."""
        sample = first * self.work.batch
        self.block.fill_(sample >> 1)
        lead = min(sample & 1, steps)  # an odd sample begins in the middle of a block
        if lead:
            self.run(1, offset=1)
        for _ in range((steps - lead) // self.run_length):
            self._whole_run()
        rest = (steps - lead) % self.run_length
        if rest:
            self.run(rest, offset=0)

    def run(self, steps: int, offset: int) -> None:
        """Draw for steps and take them; the first sample is number offset of the counter's block."""
        count = steps * self.work.batch
        blocks = self.block + torch.arange((offset + count + 1) // 2, device=self.block.device)
        normals, words = draws.samples(
            self.work.key, streams.PURPOSES["sgd"], self.buffers.replicas, blocks, self.buffers.states.dtype
        )
        rows = (words * len(self.work.y)) >> 32
        for begin in range(offset, offset + count, self.work.batch):
            end = begin + self.work.batch
            self.step(normals[begin:end], rows[begin:end])
        self.block.add_((offset + count) >> 1)

    @cached_property
    def _whole_run(self) -> Callable[[], Any]:
        """`run` at its full length; on a card a captured graph of it."""
        if self.buffers.states.device.type != "cuda":
            return lambda: self.run(self.run_length, offset=0)
        return self._captured()

    def _captured(self) -> Callable[[], Any]:
        """Once by hand, as the libraries set themselves up on first use, then recorded; states and counter put back."""
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
        return graph.replay

    def _radial_step(self, normals: Tensor, rows: Tensor) -> None:
        """One step of (X u, |u|^2, nu) from normals and rows ``(B, R)``."""
        b, n = self.buffers, len(self.work.y)
        s, q, nu = b.states[:n], b.states[n], b.states[n + 1]
        inside = (q >= 0) & (q <= b.limits)
        level, slope = self.functions["gain"](q), self.functions["gain_slope"](q)
        score = s.gather(0, rows)
        error = b.rates * (level * score - b.y.take(rows) - b.sigmas * normals)
        weight = error * level
        keep = 1 - slope * (error * score).sum(0)
        new = keep * s
        for i in range(self.work.batch):
            new = new - b.rows.index_select(1, rows[i]) * weight[i]
        change = keep * (weight * score).sum(0) + (weight * new.gather(0, rows)).sum(0)
        q.copy_(torch.where(inside, keep * keep * q - change, torch.nan))
        nu.copy_(torch.where(inside, keep * nu, torch.nan))
        s.copy_(torch.where(inside, new, torch.nan))

    def _separable_step(self, normals: Tensor, rows: Tensor) -> None:
        """One step of u ``(R, factors, d)`` from normals and rows ``(B, R)``."""
        b = self.buffers
        first, last = b.states[:, 0], b.states[:, -1]
        w = self.functions["value"](first, last)
        inside = (w.abs() <= b.limits[:, None]).all(-1, keepdim=True)
        v = torch.zeros_like(w)
        for i in range(self.work.batch):
            lines = b.rows.index_select(0, rows[i])
            error = (lines * w).sum(-1) - b.y.take(rows[i]) - b.sigmas * normals[i]
            v = v + error[:, None] * lines
        v = b.rates[:, None] * v
        new_first = first - v * self.functions["slope_a"](first, last)
        if b.states.shape[1] == 2:
            last.copy_(torch.where(inside, last - v * self.functions["slope_b"](first, last), torch.nan))
        first.copy_(torch.where(inside, new_first, torch.nan))
