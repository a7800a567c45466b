"""Where shards are computed: processes of this machine, a Dask cluster, Slurm. Each yields results as they come.

An engine gets tasks (JSON texts) and yields (index, result); result is None where workers died on a task repeatedly.
joblib, Dask and submitit pickle on the way between our own processes: a reference to `compute` one way, text both ways.
"""

import importlib
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

from numerics.errors import InputError
from numerics.sweep.shards import compute
from numerics.workers import LIVES, each

Results = Iterator[tuple[int, str | None]]
Engine = Callable[[list[str]], Results]


def local(workers: int) -> Engine:
    """joblib processes on this machine; with one worker this process."""

    def engine(tasks: list[str]) -> Results:
        return each(compute, tasks, workers)

    return engine


def dask(scheduler: str) -> Engine:
    """An existing Dask cluster. Raises InputError where the scheduler does not answer."""

    def engine(tasks: list[str]) -> Results:
        distributed: Any = importlib.import_module("distributed")
        try:
            client = distributed.Client(scheduler, timeout=10, set_as_default=False)
        except (OSError, ValueError) as error:
            raise InputError("scheduler", scheduler, f"does not answer ({error})", "give its address") from None
        try:
            yield from _on_dask(distributed, client, tasks)
        finally:
            with suppress(Exception):
                client.close(timeout=2)  # forgets the tasks, which stops those that run for nobody

    return engine


def _on_dask(distributed: Any, client: Any, tasks: list[str]) -> Results:
    """Dask computes a task again elsewhere when its worker dies, a few times; then it gives the task up."""
    run = secrets.token_hex(4)
    keys = [f"latedecay-{run}-{i}" for i in range(len(tasks))]
    numbers = {key: i for i, key in enumerate(keys)}
    futures = client.map(compute, tasks, key=keys, pure=False)
    for future in distributed.as_completed(futures, loop=client.loop):
        failure = future.exception() if future.status == "error" else None
        if failure is not None and type(failure).__name__ != "KilledWorker":
            raise _foreign("Dask", failure)
        if future.status == "cancelled":
            raise OSError(f"the Dask scheduler lost {future.key}; run the sweep again: it goes on where it stopped")
        yield numbers[future.key], None if failure is not None else future.result()
        future.release()


def _foreign(where: str, error: BaseException) -> InputError:
    """The worker could not even begin: another installation."""
    return InputError(
        f"{where} worker", type(error).__name__, f"({error})", "install the same latedecay on all workers"
    )


@dataclass(frozen=True)
class Slurm:
    """What Slurm is asked for. ``cluster`` "slurm", or submitit's "local" for processes of this machine."""

    cluster: str
    folder: Path
    minutes: int
    partition: str | None = None
    gigabytes: float | None = None
    per_job: int = 8
    at_once: int = 256

    def __call__(self, tasks: list[str]) -> Results:
        """Array jobs of ``per_job`` tasks each. A job that is lost is submitted again, up to three times."""
        starts = range(0, len(tasks), self.per_job)
        lives = {tuple(range(a, min(a + self.per_job, len(tasks)))): LIVES for a in starts}
        executor = self._executor()
        waiting: list[tuple[tuple[int, ...], Any]] = []
        try:
            waiting = self._submitted(executor, list(lives), tasks)
            while waiting:
                done = [pair for pair in waiting if pair[1].done()]
                waiting = [pair for pair in waiting if pair not in done]
                lost = []
                for group, job in done:
                    results = _results(job)
                    lives[group] -= results is None
                    if results is None and lives[group] > 0:
                        lost.append(group)
                    else:
                        yield from zip(group, results or repeat(None), strict=False)
                waiting += self._submitted(executor, lost, tasks)
                time.sleep(0 if done else 0.5)
            shutil.rmtree(self.folder, ignore_errors=True)  # what is left behind is of use where something went wrong
        finally:
            for _, job in waiting:
                with suppress(Exception):
                    job.cancel()

    def _executor(self) -> Any:
        from submitit import AutoExecutor

        try:
            executor = AutoExecutor(folder=self.folder, cluster=self.cluster)
        except RuntimeError as error:
            raise InputError(
                "cluster", self.cluster, f"is not to be had ({error})", "submit from a login node"
            ) from None
        slurm: dict[str, Any] = {"slurm_partition": self.partition, "slurm_array_parallelism": self.at_once}
        asked: dict[str, Any] = {"timeout_min": self.minutes, "mem_gb": self.gigabytes, "cpus_per_task": 1}
        asked |= slurm if self.cluster == "slurm" else {}
        executor.update_parameters(**{name: value for name, value in asked.items() if value is not None})
        return executor

    def _submitted(
        self, executor: Any, groups: list[tuple[int, ...]], tasks: list[str]
    ) -> list[tuple[tuple[int, ...], Any]]:
        if not groups:
            return []
        jobs = executor.map_array(compute_all, [[tasks[i] for i in group] for group in groups])
        return list(zip(groups, jobs, strict=True))


def compute_all(tasks: list[str]) -> list[str]:
    """What one job of an array runs."""
    return [compute(task) for task in tasks]


def _results(job: Any) -> list[str] | None:
    """The texts that a job returned; None where it was lost."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        return list(job.result())
    except (UncompletedJobError, FailedJobError) as error:
        print(f"\njob {job.job_id} was lost: {str(error).splitlines()[0]}", file=sys.stderr)
        return None
