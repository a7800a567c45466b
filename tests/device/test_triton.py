"""Triton's kernels without a card: run by its interpreter in a process of its own, and compiled for one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.runtime.driver import driver  # noqa: E402

from numerics.device import machine_code, triton_engine  # noqa: E402
from numerics.device.work import Buffers, Work  # noqa: E402
from tests.device.systems import cells, model  # noqa: E402


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of Triton's own: what it compiles is compiled anew."""
    if triton_engine.interpreting():
        pytest.skip("interpreted functions are not compiled")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def test_the_kernels_pass_the_ensembles_tests_when_interpreted(pytestconfig, device):
    """Triton decides at import whether it interprets. With --full the radial path runs over a thousand steps."""
    if device.type != "cpu" or triton_engine.interpreting():
        pytest.skip("the kernels run compiled here, in test_ensemble.py")
    suites = [str(Path(__file__).with_name(f"test_{name}.py")) for name in ("ensemble", "draws")]
    full = ["--full"] if pytestconfig.getoption("--full") else []
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "triton", *full, *suites],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.parametrize(
    ("name", "depth", "size", "batch", "precision"),
    [
        ("radial", 2.171, (8, 40), 4, "float32"),
        ("diagonal-difference", 2.5, (8, 100), 3, "float64"),
        ("tanh", 3, (8, 20), 1, "float32"),
    ],
)
def test_the_kernels_compile_for_a_hopper_card(cache, name, depth, size, batch, precision):
    simulator, _ = model(name, depth, *size)
    code = machine_code.compiled(Work.of(simulator, batch=batch, seed=0), getattr(torch, precision))
    assert ".target sm_90" in code.ptx
    assert 16 < code.registers <= 255
    wide = {kind for kind in ("float64", "float32") if code.cycles[kind] > 10}
    assert wide == {precision}


@pytest.mark.parametrize(
    ("size", "batch", "precision"), [((20, 40), 1, "float64"), ((20, 40), 4, "float64"), ((50, 60), 1, "float64")]
)
def test_a_radial_replica_lives_in_registers(cache, size, batch, precision):
    """No local memory, no shared memory, no barrier: what the layout of `kernels.reduced` is for."""
    simulator, _ = model("radial", 3, *size)
    code = machine_code.compiled(Work.of(simulator, batch=batch, seed=0), getattr(torch, precision))
    assert (code.local_bytes, code.shared_bytes) == (0, 0)
    assert "bar.sync" not in code.ptx


def test_a_warp_holds_a_replica_of_a_thousand_coordinates(cache):
    simulator, _ = model("coordinatewise", 3, 50, 1000)
    code = machine_code.compiled(Work.of(simulator, batch=1, seed=0), torch.float64)
    assert (code.local_bytes, code.shared_bytes) == (0, 0)
    assert "bar.sync" not in code.ptx


class PretendedDriver:
    """What Triton asks before it compiles for a launch."""

    def get_current_device(self):
        return 0

    def get_current_stream(self, _=None):
        return 0

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)


class Compiled:
    """A kernel that is compiled where it would be launched, and keeps what was made."""

    def __init__(self, kernel):
        self.kernel, self.ptx = kernel, []

    def __getitem__(self, grid):
        def launch(*args, **options):
            self.ptx.append(self.kernel.warmup(*args, grid=grid, **options).asm["ptx"])

        return launch


@pytest.mark.parametrize(("name", "size", "batch"), [("radial", (20, 40), 1), ("diagonal-difference", (8, 100), 3)])
def test_a_launch_compiles_what_is_estimated_for_any_number_of_replicas(cache, monkeypatch, device, name, size, batch):
    """Triton by itself makes other code for one replica, and for a multiple of 16 slower code of other bits."""
    if device.type != "cpu":
        pytest.skip("the driver here is a pretended one")
    monkeypatch.setattr(driver, "_active", PretendedDriver())
    simulator, start = model(name, 3, *size)
    work = Work.of(simulator, batch=batch, seed=0)
    compiled = Compiled(triton_engine.kernel_of(work))
    for count in (1, 7, 64):
        buffers = Buffers.of(work, cells(simulator, start, 1), np.arange(count), device=device, dtype=torch.float64)
        engine = triton_engine.TritonEngine(work, buffers)
        engine.kernel = compiled
        engine.advance(0, torch.ones(count, dtype=torch.float64))
    assert len(compiled.ptx) == 3
    assert {code(ptx) for ptx in compiled.ptx} == {code(machine_code.compiled(work, torch.float64).ptx)}


def code(ptx):
    """Instructions without comments, places in the source and names of labels."""
    lines = (line.split("//")[0].strip() for line in ptx.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith((".loc", ".file", "$L", ".section")))


def test_the_estimate_counts_the_loop_and_its_slowest_kind():
    """By hand: 4 float64 instructions at 2 per cycle, 3 loads of 64 bits at half a warp each, 8 instructions in all."""
    listing = """
        /*0000*/                   MOV R1, c[0x0][0x28] ;
        /*0010*/                   DFMA R2, R4, R6, R8 ;
        /*0020*/                   DADD R2, R2, 1 ;
        /*0030*/              @!P0 LDG.E.64 R4, desc[UR4][R6.64] ;
        /*0040*/                   DMUL R2, R2, R2 ;
        /*0050*/                   LDG.E.64 R4, desc[UR4][R6.64] ;
        /*0060*/                   DFMA R2, R4, R6, R8 ;
        /*0070*/                   LDG.E.64.CONSTANT R4, desc[UR4][R6.64] ;
        /*0080*/               @P1 BRA 0x10 ;
        /*0090*/                   BRA 0x90 ;
    """
    cut = triton_engine.Layout((16, 4), 32, 1)
    code = machine_code.MachineCode("", 126, 0, 0, machine_code._loop(listing), cut, 4)
    assert code.cycles["float64"] == 2
    assert code.cycles["memory"] == 6
    assert code.cycles["issue"] == 2
    assert (code.bound, code.warps) == ("memory", 16)
    card = machine_code.Card("of the test", 90, 2, 1e9)
    assert code.most_replica_steps(card) == pytest.approx(2 * 1e9 * 32 * 2 / 4 / 6)
