"""A shard: one block of replicas at one point of the design. JSON text in, JSON text out, wherever it is computed."""

import json
import time
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from numerics.errors import InputError
from numerics.hashes import canonical, sha256_of_bytes, sha256_of_file
from numerics.provenance import versions
from numerics.run.settings import Settings
from numerics.sweep.config import Sweep
from numerics.sweep.jobs import JOBS


@dataclass(frozen=True)
class Shard:
    """Replicas first, ..., first + count - 1 of a point; ``data`` is the SHA-256 of the file that it reads, if any."""

    settings: Settings
    first: int
    count: int
    data: str | None

    @cached_property
    def content(self) -> dict[str, Any]:
        """What the numbers depend on."""
        given = self.settings.model_dump(mode="json", exclude={"out", "threads", "first_replica"})
        return {"settings": given, "first": self.first, "count": self.count, "data": self.data}

    @cached_property
    def key(self) -> str:
        """The hash of the content."""
        return sha256_of_bytes(canonical(self.content).encode())[:32]

    @property
    def task(self) -> str:
        """What `compute` takes: the content, and where the data file lies."""
        path = str(Path(self.settings.data).resolve()) if self.data else None
        return canonical({"key": self.key, **self.content, "path": path})


def shards(sweep: Sweep) -> list[list[Shard]]:
    """The shards of every point: blocks of at least ``sweep.block`` replicas, as equal as can be."""
    digests = {name: sha256_of_file(Path(name)) for name in sweep.inputs if Path(name).is_file()}
    return [_blocks(point, sweep.block, digests.get(point.data)) for point in sweep.points]


def _blocks(point: Settings, block: int, data: str | None) -> list[Shard]:
    count = max(point.replicas // block, 1) if point.random else 1
    edges = np.linspace(0, point.replicas, count + 1).astype(int).tolist()
    return [Shard(point, a, b - a, data) for a, b in pairwise(edges)]


def compute(task: str) -> str:
    """Compute a shard, or say in its record why it could not be. Runs on workers; never raises an Exception."""
    started, given = time.perf_counter(), json.loads(task)
    try:
        found: dict[str, Any] = {"record": _computed(given)}
    except Exception as error:
        found = {"error": " ".join(str(error).split()) or type(error).__name__, "kind": type(error).__name__}
    shard = canonical({"key": given["key"], "first": given["first"], "count": given["count"], **found})
    return canonical({"shard": shard, "seconds": time.perf_counter() - started, "versions": versions()})


def _computed(given: dict[str, Any]) -> dict[str, Any]:
    from threadpoolctl import threadpool_limits

    settings = dict(given["settings"], replicas=given["count"], first_replica=given["first"], threads=1, out=Path("."))
    if given["path"] is not None:
        settings["data"] = given["path"]
        if sha256_of_file(Path(given["path"])) != given["data"]:
            raise InputError("data", given["path"], "changed since the sweep began", "restore it, or begin anew")
    job = JOBS[settings.pop("job")]
    with threadpool_limits(1):
        return job.record(job.points([settings])[0])
