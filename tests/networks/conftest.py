"""One torch thread, and silence about a deprecation inside torch's own forward-mode derivatives."""

from pathlib import Path

import pytest

# torch.func.jvp calls torch.jit.script on first use, which torch itself deprecates
QUIET = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(QUIET)


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices; more threads would only wait for each other."""
    pytest.importorskip("torch").set_num_threads(1)
