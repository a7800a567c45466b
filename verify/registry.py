"""All experiments, the budget they share, and where to find one by its key."""

from importlib import import_module

from verify.budget import Budget
from verify.experiment import Experiment

MODULES = (
    "reduction",
    "saturation",
    "noise_floor",
    "sampling",
    "stability",
    "slow_law",
    "scalar_law",
    "convergence",
    "alignment",
    "controls",
    "classification",
    "momentum",
    "sde",
    "derived",
)

#: the exact identity that needs nothing else to be right comes first
FIRST = "C16"

EXPERIMENTS: tuple[Experiment, ...] = tuple(
    sorted(
        (e for name in MODULES for e in import_module(f"verify.experiments.{name}").EXPERIMENTS),
        key=lambda e: (e.claim != FIRST, int(e.claim[1:])),
    )
)

#: the budget of one run: all experiments, whether or not a run is restricted to some of them
BUDGET = Budget(sum(e.total_comparisons for e in EXPERIMENTS))


def find(key: str) -> Experiment:
    """The experiment called claim:name. Raises KeyError."""
    return {e.key: e for e in EXPERIMENTS}[key]


def of_claim(number: str) -> tuple[Experiment, ...]:
    """Experiments of a claim."""
    return tuple(e for e in EXPERIMENTS if e.claim == number)
