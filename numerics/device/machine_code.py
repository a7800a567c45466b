"""What a fused kernel becomes on a card that need not be there: registers, local memory, the instructions of its loop.

Triton compiles for a named card without one. How many instructions the loop over blocks has of each kind, and how many
of them a multiprocessor starts per cycle, bounds the speed. That is an estimate and no measurement: it knows neither
latencies nor cache misses, and counts every instruction of the loop once a pass. Source of the rates: CUDA C++
Programming Guide, throughput of native arithmetic instructions, compute capability 9.0.
"""

import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from numerics.device.triton_engine import Layout, constants, kernel_of, layout
from numerics.device.work import Work
from numerics.errors import InputError


@dataclass(frozen=True)
class Card:
    """A card as its maker describes it: compute capability, multiprocessors, clock in 1/s."""

    name: str
    capability: int
    multiprocessors: int
    clock: float


H200 = Card("NVIDIA H200", 90, 132, 1.98e9)

#: kind -> (warp instructions that a multiprocessor starts per cycle, names of the machine's instructions)
_PIPES = {
    "float64": (2.0, ("DADD", "DMUL", "DFMA", "DSETP", "DMNMX")),
    "float32": (4.0, ("FADD", "FMUL", "FFMA", "HFMA2")),
    "multiply": (2.0, ("IMAD", "IDP", "IMUL")),
    "logic": (2.0, ("IADD3", "VIADD", "LOP3", "SEL", "FSEL", "ISETP", "FSETP", "PLOP3", "SHF", "LEA", "PRMT", "MOV",
                    "FMNMX", "IMNMX", "VIMNMX", "IABS", "SGXT", "CS2R", "P2R", "R2P")),
    "special": (0.5, ("MUFU", "I2F", "I2FP", "F2I", "F2F")),
    "memory": (1.0, ("LDG", "STG", "LDL", "STL", "LDS", "STS", "SHFL", "STSM", "LDSM")),
}  # fmt: skip
_ISSUE = 4.0
_REGISTERS, _WARPS, _LANES = 65536, 64, 32
_INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,6})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_]*)([^;]*);")


@dataclass(frozen=True)
class MachineCode:
    """A kernel compiled: PTX, resources of a thread, and how often the loop holds each instruction."""

    ptx: str
    registers: int
    local_bytes: int
    shared_bytes: int
    loop: Counter[str]
    cut: Layout
    batch: int

    @cached_property
    def cycles(self) -> dict[str, float]:
        """Cycles of a multiprocessor per pass of a warp through the loop, for each kind of instruction alone."""
        kinds = {
            kind: sum(count for name, count in self.loop.items() if name.split(".")[0] in names) / rate
            for kind, (rate, names) in _PIPES.items()
        }
        wide = sum(count for name, count in self.loop.items() if name.startswith(("LDG", "SHFL")) and ".64" in name)
        kinds["memory"] += wide  # two passes for the 256 bytes of a warp
        return {**kinds, "issue": sum(self.loop.values()) / _ISSUE}

    @property
    def bound(self) -> str:
        """The kind that takes longest."""
        return max(self.cycles, key=lambda kind: self.cycles[kind])

    @property
    def warps(self) -> int:
        """That a multiprocessor holds, by registers."""
        return min(_WARPS, _REGISTERS // (_LANES * max(-(-self.registers // 8) * 8, 8)))

    def most_replica_steps(self, card: Card) -> float:
        """Estimated bound on replica-steps per second; a pass takes two samples of every replica of the warp."""
        steps = self.cut.block / self.cut.warps * 2 / self.batch
        return card.multiprocessors * card.clock * steps / self.cycles[self.bound]


def compiled(work: Work, dtype: torch.dtype, card: Card = H200) -> MachineCode:
    """Compile the kernel of this work for a card. Raises InputError where Triton is interpreted or has no tools."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.compiler import compile as build
    from triton.runtime.jit import JITFunction

    kernel, fixed, cut = kernel_of(work), constants(work, dtype), layout(work, dtype)
    if not isinstance(kernel, JITFunction):
        raise InputError("TRITON_INTERPRET", 1, "runs kernels in Python: nothing is compiled", "unset it")
    types = _signature(kernel, dtype, fixed)
    aligned = {(i,): [["tt.divisibility", 16]] for i, kind in enumerate(types.values()) if kind.startswith("*")}
    source = ASTSource(fn=kernel, signature=types, constexprs=fixed, attrs=aligned)
    options = {"num_warps": cut.warps, "enable_fp_fusion": True}
    made = build(source, target=GPUTarget("cuda", card.capability, _LANES), options=options)
    resources, listing = _read(made.asm["cubin"])
    return MachineCode(
        made.asm["ptx"], resources["REG"], resources["STACK"], made.metadata.shared, _loop(listing), cut, work.batch
    )


def _signature(kernel: Any, dtype: torch.dtype, fixed: dict[str, Any]) -> dict[str, str]:
    """Triton's names of the types of a launch's arguments."""
    kinds = {"replicas": "*i64", "numbers": "*i64", "count": "i32"}
    real = "*fp64" if dtype == torch.float64 else "*fp32"
    return {name: "constexpr" if name in fixed else kinds.get(name, real) for name in kernel.arg_names}


def _read(cubin: bytes) -> tuple[dict[str, int], str]:
    """Resources per thread, and the machine's instructions, by the disassembler that comes with Triton."""
    import triton

    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    if not tool.exists():
        raise InputError("triton", triton.__version__, "comes without cuobjdump", "install a wheel that has it")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        texts = [
            subprocess.run([tool, option, path], capture_output=True, text=True, check=True).stdout
            for option in ("--dump-resource-usage", "-sass")
        ]
    return {name: int(value) for name, value in re.findall(r"(REG|STACK):(\d+)", texts[0])}, texts[1]


def _loop(listing: str) -> Counter[str]:
    """Instructions with their modifiers in the longest stretch that a branch goes back over."""
    found = [(int(at, 16), name, rest) for at, name, rest in _INSTRUCTION.findall(listing)]
    spans = [(int(to[1], 16), at) for at, name, rest in found if name == "BRA" and (to := re.search(r"0x(\w+)", rest))]
    begin, end = max(spans, key=lambda span: span[1] - span[0])
    return Counter(name + _modifiers(rest) for at, name, rest in found if begin <= at <= end)


def _modifiers(rest: str) -> str:
    """What stands behind a name without a space; a name may be all there is."""
    return rest.split()[0] if rest.startswith(".") else ""


def lines(code: MachineCode, card: Card = H200) -> list[str]:
    """For the terminal."""
    kinds = ", ".join(f"{kind} {cycles:.0f}" for kind, cycles in code.cycles.items())
    return [
        f"machine code for {card.name} (sm_{card.capability}): {code.registers} registers, {code.local_bytes} bytes of "
        f"local memory a thread, {code.shared_bytes} bytes shared; {code.cut.block} replicas on {code.cut.warps} warps "
        f"a program, {code.warps} warps fit",
        f"  a pass of a warp (two samples each): {sum(code.loop.values())} instructions; cycles by kind: {kinds}",
        f"  ESTIMATE, not measured: at most {code.most_replica_steps(card):.2g} replica-steps/s, by {code.bound}",
    ]
