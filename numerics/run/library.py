"""Jobs as functions, for notebooks and scripts: what the command line runs, with nothing written."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from numerics.run.machine import Machine
from numerics.run.report import Outcome
from numerics.run.settings import Settings, validated
from numerics.run.system import make_system


def run(job: str, **options: Any) -> Outcome:
    """phase1, phase2, phase3 or late-decay with the command line's options as keywords, and its defaults.

    A notebook shows the result as a table of checks, the figure and the curves. Raises InputError as the command
    line would refuse.
    """
    return outcome_of(validated(job=job, out=Path(), **options), lambda _: None, lambda _: None)


def outcome_of(settings: Settings, tick: Callable[[int], Any], begin: Callable[[int], Any]) -> Outcome:
    """Compute a job; ``begin`` hears the number of steps, ``tick`` of those done."""
    module = importlib.import_module(f"numerics.run.{settings.job.replace('-', '_')}")
    machine = Machine.of(settings)
    machine.require()
    with threadpool_limits(1):  # small matrices; more threads would change bits
        system = make_system(settings)
        if not machine.numba:
            need = machine.memory(system.model, system.noise, settings.replicas)
            print(machine.require_memory(need), file=sys.stderr)
        outcome: Outcome = module.run(system, tick, begin)
    return outcome
