"""Where shards are computed: processes of this machine, a Dask cluster. Each yields results as they come.

An engine gets tasks (JSON texts) and yields (index, result), `Lost` where workers died on a task repeatedly.
joblib, Dask and submitit pickle on the way between our own processes: a reference to `compute` one way, text both ways.
"""

import importlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from numerics.errors import InputError
from numerics.sweep.shards import compute
from numerics.workers import each


@dataclass(frozen=True)
class Lost:
    """What there is instead of a result: why there is none."""

    why: str = "its worker died, again and again (out of memory?)"


Results = Iterator[tuple[int, str | Lost]]
Engine = Callable[[list[str]], Results]


def local(workers: int) -> Engine:
    """joblib processes on this machine; with one worker this process."""

    def engine(tasks: list[str]) -> Results:
        yield from ((i, Lost() if result is None else result) for i, result in each(compute, tasks, workers))

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
            raise foreign("Dask", type(failure).__name__, str(failure))
        if future.status == "cancelled":
            raise OSError(f"the Dask scheduler lost {future.key}; run the sweep again: it goes on where it stopped")
        yield numbers[future.key], Lost() if failure is not None else future.result()
        future.release()


def foreign(where: str, kind: str, said: str) -> InputError:
    """The worker could not even begin: another installation. ``kind`` and ``said`` are its exception."""
    return InputError(f"{where} worker", kind, f"({said})", "install the same latedecay on all workers")
