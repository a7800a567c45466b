"""An ensemble of label-noise SGD on a torch device, and the choice of device and engine. Knows no law."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import numpy as np
import torch

from numerics.device import triton_engine
from numerics.device.tensor_engine import DRAW_COPIES, STATE_COPIES, TensorEngine, run_length
from numerics.device.triton_engine import TritonEngine
from numerics.device.work import PRECISIONS, Buffers, Cells, FloatArray, IntArray, Model, Work
from numerics.errors import InputError
from numerics.memory import size
from numerics.schedule import Constant, Schedule

Choice = Literal["auto", "triton", "torch"]

_SHORTEST_CALL = 1 << 6
_LONGEST_CALL = 1 << 16
_SECONDS_PER_CALL = 0.2
_STEADY = Constant(1.0)


class Engine(Protocol):
    """Takes steps in place."""

    def advance(self, first: int, paces: torch.Tensor) -> None:
        """Advance by len(paces) steps, the first of them number first; learning rates are multiplied by paces."""


def torch_device(text: str) -> torch.device:
    """cpu, cuda or cuda:1 as a torch device. Raises InputError where there is none."""
    try:
        device = torch.device(text)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InputError("device", text, "is no device of this program", "give cpu, cuda or cuda:1")
    if device.type == "cpu":
        return torch.device("cpu")
    count, index = torch.cuda.device_count() if torch.cuda.is_available() else 0, device.index or 0
    if not count:
        raise InputError("device", text, "is not there: torch sees no CUDA device", "give --device cpu")
    if index >= count:
        raise InputError("device", text, f"is not there: torch sees {count} CUDA devices", "give a lower number")
    return torch.device("cuda", index)


def chosen_engine(choice: Choice, work: Work, device: torch.device) -> Literal["triton", "torch"]:
    """The fused kernel where it can do the work, else torch operations. Raises InputError for one that cannot."""
    obstacle = "" if choice == "torch" else triton_engine.obstacle(work, device)
    if choice == "triton" and obstacle:
        raise InputError("engine", choice, obstacle, "give --engine torch")
    return "torch" if choice == "torch" or obstacle else "triton"


def predicted_bytes(work: Work, replicas: int, engine: str, precision: str, device: torch.device) -> int:
    """Memory on the device of an ensemble, at its peak."""
    real = torch.finfo(PRECISIONS[precision]).bits // 8
    states = math.prod(work.state_shape) * replicas * real
    resident = states + replicas * (3 * real + 8) + (work.rows.size + work.y.size) * real
    if engine == "triton":
        return resident
    samples = run_length(replicas, work.batch) * work.batch * replicas
    runs = 2 if device.type == "cuda" else 1  # a graph keeps its temporaries; a shorter run beside it has its own
    return resident + runs * (STATE_COPIES * states + DRAW_COPIES * 8 * samples)


def free_bytes(device: torch.device) -> int:
    """Memory that can still be had on a card. On the CPU the command line asks the system (`numerics.run.memory`)."""
    return int(torch.cuda.mem_get_info(device)[0])


@contextmanager
def one_line_for_full(device: torch.device, need: int) -> Iterator[None]:
    """Raise InputError where the device has no memory left; need: bytes predicted.

    What is free when it is predicted need not be free later, nor in one piece. The end of a recording hides the error
    behind its own.
    """
    try:
        yield
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, torch.OutOfMemoryError):
            cause = cause.__context__
        if cause is None:
            raise
        rule = f"was predicted, and {device} has no more to give"
        raise InputError("memory", size(need), rule, "lower --replicas") from None


class Ensemble:
    """R replicas of one problem on a device, each with its own eta, sigma, start and stream.

    replicas ``(R,)`` are the numbers of the streams; they share the cells evenly, those of the first cell first. A
    replica takes the steps that numba takes at its number, up to rounding.
    """

    def __init__(
        self,
        model: Model,
        cells: Cells,
        *,
        replicas: IntArray,
        batch: int,
        seed: int,
        device: torch.device,
        engine: Choice,
        precision: str,
    ) -> None:
        self.work = Work.of(model, batch=batch, seed=seed)
        cells.require(self.work, len(replicas))
        self.engine_name = chosen_engine(engine, self.work, device)
        self.need = predicted_bytes(self.work, len(replicas), self.engine_name, precision, device)
        kind = TritonEngine if self.engine_name == "triton" else TensorEngine
        with one_line_for_full(device, self.need):
            self.buffers = Buffers.of(self.work, cells, replicas, device=device, dtype=PRECISIONS[precision])
            self.engine: Engine = kind(self.work, self.buffers)
        self.step, self._length = 0, _SHORTEST_CALL

    def advance(self, steps: int, tick: Callable[[int], Any] = lambda _: None, *, schedule: Schedule = _STEADY) -> None:
        """Take steps, in calls short enough for a Ctrl-C; tick is called with the steps done since its last call.

        The learning rate of step k is schedule(k) times a cell's own.
        """
        end = self.step + steps
        while self.step < end:
            count = min(self._length, end - self.step)
            begin = time.perf_counter()
            with one_line_for_full(self.buffers.states.device, self.need):
                self.engine.advance(self.step, self.paces(schedule, count))
                self.synchronize()
            self.step += count
            tick(count)
            if time.perf_counter() - begin < _SECONDS_PER_CALL / 2 and count == self._length:
                self._length = min(2 * self._length, _LONGEST_CALL)

    def paces(self, schedule: Schedule, count: int) -> torch.Tensor:
        """What learning rates are multiplied by in the next count steps, on the device."""
        states = self.buffers.states
        values = schedule(np.arange(self.step, self.step + count))
        return torch.tensor(values, dtype=states.dtype, device=states.device)

    def synchronize(self) -> None:
        """Wait until the device has done what it was asked to."""
        if self.buffers.states.device.type == "cuda":
            torch.cuda.synchronize(self.buffers.states.device)

    def states(self, begin: int = 0, end: int | None = None) -> FloatArray:
        """States ``(end - begin, ...)`` of replicas begin..end-1 on the host, float64, a row per replica."""
        part = self.buffers.states[:, begin:end].T if self.work.radial else self.buffers.states[begin:end]
        return np.ascontiguousarray(part.double().cpu().numpy())
