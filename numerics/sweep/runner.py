"""A sweep from its design to its result: shards that are missing are computed, all of them joined."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numerics import journal
from numerics.errors import InputError
from numerics.files import write_figure, write_json, write_netcdf
from numerics.folder import ResultFolder
from numerics.hashes import canonical, sha256_of_file
from numerics.journal import Journal
from numerics.provenance import provenance, versions
from numerics.sweep.assemble import dataset
from numerics.sweep.config import Sweep
from numerics.sweep.engines import Engine, Lost
from numerics.sweep.figure import figure
from numerics.sweep.shards import Shard, shards

if TYPE_CHECKING:
    import xarray

#: the shards of every point
Plan = list[list[Shard]]
#: the settings that vary, and the error
Failures = list[tuple[dict[str, Any], str]]
#: told (shards done, shards in all, failures so far)
Report = Callable[[int, int, int], Any]


@dataclass(frozen=True)
class Finished:
    """A finished sweep: failures, what was damaged and recomputed, the result's hash."""

    points: int
    failures: Failures
    damaged: dict[str, str]
    digest: str


def header(sweep: Sweep) -> dict[str, Any]:
    """The first line of the journal."""
    return {"sweep": sweep.config, **versions()}


def run(sweep: Sweep, folder: ResultFolder, engine: Engine, report: Report) -> Finished:
    """Compute what is missing, in any order; join and write. Raises OSError and InputError."""
    started = time.perf_counter()
    plan = shards(sweep)
    book = journal.resume(folder.out, header(sweep))
    damaged = dict(book.problems)
    _compute(plan, book, engine, report)
    data = read(sweep, plan, book)
    data.attrs = {"title": f"latedecay sweep of {sweep.job}", "provenance": json.dumps(_origin(sweep, plan))}
    failures = _failures(sweep, data)
    written = write_netcdf(folder.staging / "sweep.nc", data)
    write_figure(folder.staging / "sweep", figure(sweep, data))
    digest = sha256_of_file(written)
    write_json(folder.staging / "summary.json", _summary(sweep, plan, failures, digest, started))
    return Finished(len(plan), failures, damaged, digest)


def _summary(sweep: Sweep, plan: Plan, failures: Failures, digest: str, started: float) -> dict[str, Any]:
    """The content of summary.json."""
    seed = plan[0][0].settings.seed
    made = provenance(seed=seed, started=started, threads=1, arguments=["sweep"], inputs=sweep.inputs)
    return {
        "job": "sweep",
        "config": sweep.config,
        "shape": sweep.shape,
        "points": len(plan),
        "shards": len({shard.key for blocks in plan for shard in blocks}),
        "failures": [{"settings": settings, "error": error} for settings, error in failures],
        "sha256": {"sweep.nc": digest},
        "provenance": {**made, "config": sweep.config},
    }


def read(sweep: Sweep, plan: Plan, book: Journal) -> "xarray.Dataset":
    """The dataset of the shards that are there."""
    blocks = [[book.shard(s.key) if s.key in book.entries else None for s in point] for point in plan]
    return dataset(sweep, blocks)


def partial(out: Path) -> tuple[Sweep, Journal, "xarray.Dataset"]:
    """What is there of a sweep that runs, was stopped or has ended. Raises InputError where there is none."""
    from numerics.sweep.config import parse

    book = journal.read(out)
    if book.header is None:
        raise InputError("FOLDER", out, "holds no sweep", "give the folder that a sweep writes to")
    sweep = parse(book.header["sweep"])
    return sweep, book, read(sweep, shards(sweep), book)


def _compute(plan: Plan, book: Journal, engine: Engine, report: Report) -> None:
    """Run the engine over the shards that are missing, or that failed for a reason that may have passed."""
    wanted = {shard.key: shard for blocks in plan for shard in blocks}
    missing = [shard for key, shard in wanted.items() if not _settled(book, key)]
    done, own = len(wanted) - len(missing), versions()
    failed = sum(book.entries[key]["failed"] for key in wanted if _settled(book, key))
    report(done, len(wanted), failed)
    if not missing:
        return
    for i, found in engine([shard.task for shard in missing]):
        shard = missing[i]
        if isinstance(found, Lost):
            result: dict[str, Any] = {"shard": _lost(shard, found.why), "seconds": 0.0, "versions": own}
        else:
            result = json.loads(found)
        if result["versions"] != own:
            raise InputError("versions of a worker", canonical(result["versions"]), f"are not {canonical(own)}",
                             "install the same on all workers")  # fmt: skip
        bad = "error" in json.loads(result["shard"])
        book.save(shard.key, result["shard"], result["seconds"], bad)
        done, failed = done + 1, failed + bad
        report(done, len(wanted), failed)


def _settled(book: Journal, key: str) -> bool:
    """Computed, or refused by a rule that refuses it again."""
    entry = book.entries.get(key)
    return entry is not None and (not entry["failed"] or book.shard(key).get("kind") == "InputError")


def _lost(shard: Shard, why: str) -> str:
    return canonical({"key": shard.key, "first": shard.first, "count": shard.count, "error": why, "kind": "WorkerLost"})


def _failures(sweep: Sweep, data: "xarray.Dataset") -> Failures:
    """The settings that vary, and the error, of each point that failed."""
    errors = data["error"].values.ravel().tolist()
    return [(varied, error) for varied, error in zip(sweep.varied, errors, strict=True) if error]


def _origin(sweep: Sweep, plan: Plan) -> dict[str, Any]:
    """What equal sweeps share."""
    data = sorted({(blocks[0].settings.data, blocks[0].data) for blocks in plan if blocks[0].data})
    inputs = [{"given": name, "sha256": digest} for name, digest in data]
    return {**versions(), "config": sweep.config, "inputs": inputs}
