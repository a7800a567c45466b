"""The engine made of one fused Triton kernel: states in registers, draws inside, many steps a launch; knows no law."""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch

from numerics import streams
from numerics.device.work import Buffers, Work
from numerics.specialise import TRITON, specialise, step_formulas
from theory import lower

#: the longest state that is kept in registers; beyond it they spill and torch operations are as good
LONGEST_STATE = 8192
#: float64 numbers of a state, and of what a batch adds up beside it, that a thread keeps without spilling: by ptxas
_PER_THREAD_RADIAL, _PER_THREAD_SEPARABLE = 40, 64
_WARP = 32


def interpreting() -> bool:
    """Whether Triton runs its kernels in Python, on the CPU: TRITON_INTERPRET=1, set before it is imported."""
    return os.environ.get("TRITON_INTERPRET", "0") not in ("", "0")


def obstacle(work: Work, device: torch.device) -> str:
    """Why this engine cannot do this work there, in words; empty where it can."""
    if find_spec("triton") is None:
        return "needs the package triton"
    if device.type != "cuda" and not interpreting():
        return "runs on a CUDA device"
    if work.size > LONGEST_STATE:
        return f"keeps states of at most {LONGEST_STATE} numbers in registers, not {work.size}"
    try:
        lower.source(step_formulas(work.parametrization), "tl")
    except ValueError as error:
        return str(error)
    return ""


@dataclass(frozen=True)
class Layout:
    """How a kernel is cut: tiles of a state, powers of two that hold it; replicas per program; warps per program."""

    tiles: tuple[int, ...]
    block: int
    warps: int


def layout(work: Work, dtype: torch.dtype) -> Layout:
    """Several replicas per warp where a thread or a part of the warp holds one; several warps for a long state.

    Radial: beside s the sums of a batch. Separable: a warp per replica at least, which holds factors, w and those sums.
    """
    sums, wide = int(work.batch > 1), 2 if dtype == torch.float32 else 1
    if work.radial:
        head = 1 << max((work.size - 1).bit_length() - 1, 0)
        tail = 1 << max(work.size - head - 1, 0).bit_length()
        threads = _threads((head + tail) * (1 + sums), _PER_THREAD_RADIAL * wide)
        return Layout((head, tail), max(1, _WARP // threads), max(1, threads // _WARP))
    length = 1 << (work.size - 1).bit_length()
    threads = _threads(length * (work.state_shape[0] + 1 + sums), _PER_THREAD_SEPARABLE * wide)
    return Layout((length,), 1, max(1, threads // _WARP))


def _threads(numbers: int, most: int) -> int:
    """A power of two of threads, none of which holds more than so many of the numbers."""
    return int(1 << max(-(-numbers // most) - 1, 0).bit_length())


def kernel_of(work: Work) -> Any:
    """Triton's function."""
    return specialise("reduced" if work.radial else "separable", work.parametrization, TRITON).advance


class TritonEngine:
    """Steps all replicas of the buffers in place."""

    def __init__(self, work: Work, buffers: Buffers) -> None:
        self.work, self.buffers = work, buffers
        self.kernel = kernel_of(work)
        self.numbers = torch.tensor([0, 0, *work.key], dtype=torch.int64, device=buffers.states.device)

    def advance(self, first: int, paces: torch.Tensor) -> None:
        """See `ensemble.Engine`. Returns before a card has finished."""
        b = self.buffers
        self.numbers[:2].copy_(torch.tensor([first, len(paces)]))
        cut = layout(self.work, b.states.dtype)
        grid = (-(-b.count // cut.block),)
        with on(b.states.device):
            self.kernel[grid](
                b.states, b.rows, b.y, b.rates, paces, b.sigmas, b.limits, b.replicas, self.numbers, b.count,
                **constants(self.work, b.states.dtype), num_warps=cut.warps, enable_fp_fusion=True,
            )  # fmt: skip


def constants(work: Work, dtype: torch.dtype) -> dict[str, Any]:
    """What the kernel is compiled for."""
    import triton.language as tl

    cut = layout(work, dtype)
    shared = {
        "n": len(work.y),
        "BATCH": work.batch,
        "BLOCK": cut.block,
        "REAL": tl.float64 if dtype == torch.float64 else tl.float32,
        "PURPOSE": streams.PURPOSES["sgd"],
    }
    if work.radial:
        return shared | dict(zip(("HEAD", "TAIL"), cut.tiles, strict=True)) | {"AXIS": _axis_of_rows()}
    return shared | {"D": cut.tiles[0], "d": work.size, "FACTORS": work.state_shape[0]}


def _axis_of_rows() -> int:
    """Of a tile of the radial kernel: the one that Triton does not lay the threads of a warp along, given the choice.

    Where a load is contiguous along neither axis, up to 3.6 it takes the first, from 3.7 on the last; on the wrong one
    a sum crosses threads through shared memory.
    """
    import triton

    major, minor = (int(part) for part in triton.__version__.split(".")[:2])
    return 0 if (major, minor) >= (3, 7) else 1


def on(device: torch.device) -> AbstractContextManager[Any]:
    """The card that Triton is to launch on becomes the current one."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
