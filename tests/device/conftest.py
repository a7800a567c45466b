"""Where the ensembles of these tests run: --device cpu, or a card."""

import pytest

pytest.importorskip("torch")


@pytest.fixture(scope="session")
def device(pytestconfig):
    """The torch device of --device. A card that is asked for and not there is an error, not a skip."""
    from numerics.device.ensemble import torch_device

    return torch_device(pytestconfig.getoption("--device"))


@pytest.fixture(params=["torch", "triton"])
def engine(request, device):
    """Both engines. On the CPU Triton's kernels run interpreted, in the process that test_triton.py starts."""
    from numerics.device.triton_engine import interpreting

    if request.param == "triton":
        pytest.importorskip("triton")
        if device.type == "cpu" and not interpreting():
            pytest.skip("Triton on the CPU: interpreted by test_triton.py")
    return request.param
