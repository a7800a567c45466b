"""The engine made of one fused Triton kernel: states in registers, draws inside, many steps a launch; knows no law."""

import os
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Any

import torch

from numerics import streams
from numerics.device.work import Buffers, Work
from numerics.specialise import TRITON, specialise, step_formulas
from theory import lower

#: the longest state that is kept in registers; beyond it they spill and torch operations are as good
LONGEST_STATE = 8192
#: numbers of a state per thread, at most: a state, its change and a row of the data fit into 255 registers
_PER_THREAD = 16
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


def shape(work: Work) -> tuple[int, int, int]:
    """(N, BLOCK, warps): a state's length as a power of 2, replicas per program, warps per program.

    Radial: a thread per replica while a state of it fits into a thread's registers. Separable: a warp per replica.
    """
    length = 1 << (work.size - 1).bit_length()
    if work.radial:
        warps = 4 if length < 2048 else 8
        return length, max(1, min(128, 2 * _PER_THREAD * _WARP * warps // length)), warps
    if length <= _WARP * _PER_THREAD:
        return length, 4 * max(1, _WARP // length), 4
    return length, 1, min(16, length // (_WARP * _PER_THREAD))


class TritonEngine:
    """Steps all replicas of the buffers in place."""

    def __init__(self, work: Work, buffers: Buffers) -> None:
        self.work, self.buffers = work, buffers
        name = "reduced" if work.radial else "separable"
        self.kernel: Any = specialise(name, work.parametrization, TRITON).advance
        self.numbers = torch.tensor([0, 0, *work.key], dtype=torch.int64, device=buffers.states.device)

    def advance(self, first: int, steps: int) -> None:
        """Advance by steps, the first of them number first. Returns before a card has finished."""
        b = self.buffers
        self.numbers[:2].copy_(torch.tensor([first, steps]))
        _, block, warps = shape(self.work)
        grid = (-(-b.count // block),)
        with on(b.states.device):
            self.kernel[grid](
                b.states, b.rows, b.y, b.rates, b.sigmas, b.limits, b.replicas, self.numbers, b.count, len(b.y),
                *([] if self.work.radial else [self.work.size]),
                **constants(self.work, b.states.dtype), num_warps=warps, enable_fp_fusion=True,
            )  # fmt: skip


def constants(work: Work, dtype: torch.dtype) -> dict[str, Any]:
    """What the kernel is compiled for."""
    import triton.language as tl

    length, block, _ = shape(work)
    own = {"N": length} if work.radial else {"FACTORS": work.state_shape[0], "D": length}
    real = tl.float64 if dtype == torch.float64 else tl.float32
    return {**own, "BATCH": work.batch, "BLOCK": block, "REAL": real, "PURPOSE": streams.PURPOSES["sgd"]}


def on(device: torch.device) -> AbstractContextManager[Any]:
    """The card that Triton is to launch on becomes the current one."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
