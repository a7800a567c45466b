"""What a step costs and what the device can do: counts of arithmetic and memory traffic, and probes of the limits."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from numerics import streams
from numerics.device import draws
from numerics.device.ensemble import Ensemble
from numerics.device.tensor_engine import DRAW_COPIES, TensorEngine
from numerics.device.triton_engine import on
from numerics.device.work import Work

#: of the normal transform per sample: half of a logarithm, a root, a sine and a cosine, by polynomials
NORMAL_FLOPS = 30
_COPY_BYTES = {"cpu": 1 << 26, "cuda": 1 << 30}
_MATRIX = {"cpu": 1024, "cuda": 8192}
_BLOCKS = 64
_FUSED_BLOCK = 128


@dataclass(frozen=True)
class Limits:
    """Of a device at one precision: bytes/s of a copy (read and written), flop/s of a matrix product, samples/s."""

    bandwidth: float
    flops: float
    samples: float


def step_flops(work: Work) -> int:
    """Additions, multiplications and divisions that one replica's step needs, formulas of F not counted.

    Radial, per sample: 2 n for the row, 12 for error, weight and norms; n + 10 for the rest. Separable, per sample: 4 d
    for the product and the sum; 3 per parameter for the update. And the normal of each sample.
    """
    n = work.size
    if work.radial:
        return work.batch * (2 * n + 12 + NORMAL_FLOPS) + n + 10
    return work.batch * (4 * n + 4 + NORMAL_FLOPS) + 3 * n * work.state_shape[0]


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of every tensor that an operation reads or writes; views move none."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.bytes += sum(tensor.nbytes for tensor in _tensors((args, kwargs or {}, out)))
        return out


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return _tensors(list(value.values()))
    return [tensor for item in value for tensor in _tensors(item)] if isinstance(value, list | tuple) else []


def step_bytes(ensemble: Ensemble, steps: int) -> float:
    """Bytes to and from the device's memory per replica and step, in calls of so many steps.

    Torch operations: counted while a run takes place by hand, as a graph's replay shows none; each operand once. The
    fused kernel reads and writes a state once a call; rows of the data come from the caches.
    """
    b, engine = ensemble.buffers, ensemble.engine
    if isinstance(engine, TensorEngine):
        with Traffic() as traffic:
            engine.run(engine.run_length, offset=0)
        return float(traffic.bytes / (b.count * engine.run_length))
    once = 2 * b.states.nbytes + b.rates.nbytes + b.sigmas.nbytes + b.limits.nbytes + b.replicas.nbytes
    return float(once / (b.count * steps))


def seconds(action: Callable[[], Any], device: torch.device, least: float) -> float:
    """Median time of an action, repeated for at least so many seconds and three times, after one that is not timed."""
    times: list[float] = []
    _timed(action, device)
    while len(times) < 3 or sum(times) < least:
        times.append(_timed(action, device))
    return sorted(times)[len(times) // 2]


def _timed(action: Callable[[], Any], device: torch.device) -> float:
    begin = time.perf_counter()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def probe_bytes(engine: str, kind: str, dtype: torch.dtype, replicas: int) -> int:
    """Memory of `probe` on a device of this kind, at its peak."""
    drawing = replicas * (16 if engine == "triton" else DRAW_COPIES * 8 * 2 * _BLOCKS)
    return 2 * _COPY_BYTES[kind] + 3 * _MATRIX[kind] ** 2 * (torch.finfo(dtype).bits // 8) + drawing


def probe(work: Work, engine: str, device: torch.device, dtype: torch.dtype, replicas: int, least: float) -> Limits:
    """Measure the limits on the device, the generator as the engine has it."""
    size, source = _MATRIX[device.type], torch.randn(_COPY_BYTES[device.type] // 8, dtype=torch.float64, device=device)
    target, square = torch.empty_like(source), torch.randn(size, size, dtype=dtype, device=device)
    product = torch.empty_like(square)
    copying = seconds(lambda: target.copy_(source), device, least)
    multiplying = seconds(lambda: torch.mm(square, square, out=product), device, least)
    generate = fused_draws if engine == "triton" else tensor_draws
    drawing = seconds(generate(work, device, dtype, replicas), device, least)
    return Limits(2 * source.nbytes / copying, 2 * size**3 / multiplying, 2 * _BLOCKS * replicas / drawing)


def tensor_draws(work: Work, device: torch.device, dtype: torch.dtype, replicas: int) -> Callable[[], Any]:
    """128 samples of every stream by torch operations."""
    numbers = torch.arange(replicas, device=device)
    blocks = torch.arange(_BLOCKS, device=device)
    return lambda: draws.samples(work.key, streams.PURPOSES["sgd"], numbers, blocks, dtype)


def fused_draws(work: Work, device: torch.device, dtype: torch.dtype, replicas: int) -> Callable[[], Any]:
    """The same in a kernel; the sum of each stream's normals ``(R,)``."""
    import triton.language as tl

    from numerics.device.kernels.draws import only_normals

    out = torch.empty(replicas, dtype=dtype, device=device)
    numbers = torch.arange(replicas, device=device)
    key, blocks = (torch.tensor(values, dtype=torch.int64, device=device) for values in (work.key, (_BLOCKS,)))
    constants = {"BLOCK": _FUSED_BLOCK, "REAL": tl.float64 if dtype == torch.float64 else tl.float32}

    def draw() -> Tensor:
        with on(device):
            only_normals[(-(-replicas // _FUSED_BLOCK),)](
                out, key, numbers, replicas, blocks, **constants, num_warps=4, enable_fp_fusion=True
            )
        return out

    return draw
