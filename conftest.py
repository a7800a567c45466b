"""Options of both suites: --full runs the long tests, --rotate-seed N runs on other random numbers than CI's,

--device cuda runs tests/device on a card.
"""

import pytest
from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True, database=None)
settings.register_profile("rotating", derandomize=False, deadline=None, print_blob=True, database=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --full, --device and --rotate-seed."""
    parser.addoption("--full", action="store_true", help="run the long tests as well")
    parser.addoption("--device", default="cpu", help="where tests/device runs its ensembles: cpu, cuda or cuda:1")
    parser.addoption(
        "--rotate-seed", type=int, default=None, metavar="N", help="draw everything from seed N instead of CI's"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose the hypothesis profile; --hypothesis-seed or --rotate-seed N gives other examples, the same ones each
    time.
    """
    config.addinivalue_line("markers", "full: takes minutes; runs with --full only")
    seed = config.getoption("--rotate-seed")
    settings.load_profile("ci" if seed is None else "rotating")
    if seed is not None and config.getoption("hypothesis_seed", None) is None:
        config.option.hypothesis_seed = seed
        from hypothesis import core

        core.global_force_seed = seed


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip long tests without --full."""
    if config.getoption("--full"):
        return
    skip = pytest.mark.skip(reason="long; runs with --full")
    for item in items:
        if "full" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def seed_shift(pytestconfig: pytest.Config) -> int:
    """Which seeds fixed cases are moved to: 0, theirs, or a function of --rotate-seed."""
    seed = pytestconfig.getoption("--rotate-seed")
    return 0 if seed is None else 1 + int(seed)
