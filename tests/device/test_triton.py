"""Triton's kernels without a card: run by its interpreter in a process of its own, and compiled for one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from numerics.device import triton_engine  # noqa: E402
from numerics.device.work import Work  # noqa: E402
from numerics.specialise import TRITON, specialise  # noqa: E402
from tests.device.systems import model  # noqa: E402

HOPPER = 90


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


def compiled(work, dtype, folder, monkeypatch):
    """The kernel for a Hopper card, as far as machine code; no card is needed for that."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.compiler import compile as build

    monkeypatch.setenv("TRITON_CACHE_DIR", str(folder))
    real = "*fp64" if dtype == torch.float64 else "*fp32"
    kinds = dict.fromkeys(("states", "gram", "X", "y", "rates", "sigmas", "limits"), real)
    kinds |= {"replicas": "*i64", "numbers": "*i64", "count": "i32", "n": "i32", "d": "i32"}
    kernel = specialise("reduced" if work.radial else "separable", work.parametrization, TRITON).advance
    signature = {name: kinds.get(name, "constexpr") for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=triton_engine.constants(work, dtype))
    options = {"num_warps": triton_engine.shape(work)[2], "enable_fp_fusion": True}
    return build(source, target=GPUTarget("cuda", HOPPER, 32), options=options)


@pytest.mark.parametrize(
    ("name", "depth", "size", "batch", "precision"),
    [
        ("radial", 2.171, (8, 40), 4, "float32"),
        ("diagonal-difference", 2.5, (8, 100), 3, "float64"),
        ("tanh", 3, (8, 20), 1, "float32"),
    ],
)
def test_the_kernels_compile_for_a_hopper_card(tmp_path, monkeypatch, name, depth, size, batch, precision):
    if triton_engine.interpreting():
        pytest.skip("interpreted functions are not compiled")
    simulator, _ = model(name, depth, *size)
    built = compiled(Work.of(simulator, batch=batch, seed=0), getattr(torch, precision), tmp_path, monkeypatch)
    assert ".target sm_90" in built.asm["ptx"]
    assert built.asm["cubin"]


def stack_bytes(cubin, folder):
    """Local memory per thread, by the disassembler that comes with Triton."""
    import triton

    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    if not tool.exists():
        pytest.skip("this Triton comes without cuobjdump")
    (folder / "kernel.cubin").write_bytes(cubin)
    command = [str(tool), "--dump-resource-usage", str(folder / "kernel.cubin")]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(re.search(r"STACK:(\d+)", report)[1])


@pytest.mark.parametrize(("batch", "most"), [(1, 64), (4, 320)])
def test_a_radial_replica_lives_in_one_thread(tmp_path, monkeypatch, batch, most):
    """No shared memory, no barrier, and little local memory: what the layout of `kernels.reduced` is for."""
    if triton_engine.interpreting():
        pytest.skip("interpreted functions are not compiled")
    simulator, _ = model("radial", 3, 20, 40)
    built = compiled(Work.of(simulator, batch=batch, seed=0), torch.float64, tmp_path, monkeypatch)
    assert built.metadata.shared == 0
    assert "bar.sync" not in built.asm["ptx"]
    assert stack_bytes(built.asm["cubin"], tmp_path) <= most
