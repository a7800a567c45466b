"""One torch thread, and silence about a deprecation inside torch's own forward-mode derivatives."""

import warnings

import pytest


@pytest.fixture(autouse=True)
def quiet_torch():
    """torch.func.jvp calls torch.jit.script on first use, which torch itself deprecates."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=DeprecationWarning)
