"""What a sweep knows of the jobs: the settings that a point may have, its validation, and its record once computed."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numerics.run import simulate_options
from numerics.run.settings import Settings, validated

Given = Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """``points`` validates the settings of all points at once; ``record`` computes one.

    Both raise InputError. A record is what `numerics.sweep.observables` makes of a result.
    """

    settings: type[Settings]
    points: Callable[[Sequence[Given]], Sequence[Settings]]
    record: Callable[[Settings], dict[str, Any]]

    @property
    def names(self) -> list[str]:
        """The settings that a sweep may set, vary or draw."""
        return sorted({*self.settings.model_fields} - self.settings.hidden - {"out", "threads"})


def _phase(job: str) -> Job:
    def record(point: Settings) -> dict[str, Any]:
        from numerics.run.system import make_system
        from numerics.sweep.observables import record

        module = importlib.import_module(f"numerics.run.{job.replace('-', '_')}")
        return record(module.run(make_system(point), _quiet, _quiet))

    return Job(Settings, lambda given: [validated(**one, job=job) for one in given], record)


def _simulated(point: Settings) -> dict[str, Any]:
    from numerics.run.simulate_found import compute
    from numerics.run.simulate_scene import make_scene
    from numerics.sweep.observables import simulated

    assert isinstance(point, simulate_options.SimulateSettings)
    return simulated(compute(make_scene(point, point.choice), _quiet, _quiet))


def _quiet(_: int) -> None:
    """Progress is told by the shard."""


JOBS = {
    **{job: _phase(job) for job in ("phase1", "phase2", "phase3", "late-decay")},
    "simulate": Job(simulate_options.SimulateSettings, simulate_options.points, _simulated),
}
