"""`sweep`: grids and random designs over any setting of the jobs, here or on a cluster."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from numerics.errors import InputError

if TYPE_CHECKING:
    from numerics.sweep.config import Sweep
    from numerics.sweep.engines import Engine

Config = Annotated[str | None, typer.Argument(help="a .toml file: job, [fixed], [grid], [random]", metavar="CONFIG")]
Out = Annotated[Path | None, typer.Option(help="folder of the result; a sweep that was stopped goes on [out/CONFIG]")]
Workers = Annotated[int, typer.Option(help="processes on this machine; results do not depend on it")]
Cluster = Annotated[str | None, typer.Option(help="dask, slurm, or local: submitit's processes on this machine")]
Scheduler = Annotated[str | None, typer.Option(help="address of the Dask scheduler, such as tcp://host:8786")]
Partition = Annotated[str | None, typer.Option(help="Slurm partition")]
Minutes = Annotated[int, typer.Option("--time", help="minutes that a Slurm job may take")]
Memory = Annotated[float | None, typer.Option(help="GB of a Slurm job [as the settings need]")]
PerJob = Annotated[int, typer.Option("--shards-per-job", help="shards of one Slurm job")]
AtOnce = Annotated[int, typer.Option("--jobs-at-once", help="Slurm jobs that run at the same time")]
Status = Annotated[Path | None, typer.Option(help="say how far the sweep in this folder is, and stop")]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("sweep")(command)


def command(
    config: Config = None,
    out: Out = None,
    workers: Workers = 1,
    cluster: Cluster = None,
    scheduler: Scheduler = None,
    partition: Partition = None,
    minutes: Minutes = 60,
    memory: Memory = None,
    shards_per_job: PerJob = 8,
    jobs_at_once: AtOnce = 256,
    status: Status = None,
) -> None:
    """A design over a job's settings, in one netCDF file. Resumable; bits independent of workers and interruptions."""
    if status is not None:
        return typer.echo(status_text(status))
    if config is None:
        raise InputError("CONFIG", None, "is missing", "give a .toml file; docs/howto/cluster.md shows one")
    from numerics.run.session import session
    from numerics.sweep.config import load
    from numerics.sweep.runner import run

    sweep, chosen = load(config), out or Path("out") / Path(config).stem
    if workers < 1:
        raise InputError("workers", workers, "is below 1", "give at least 1")
    asked = {"time": minutes, "shards-per-job": shards_per_job, "jobs-at-once": jobs_at_once,
             "partition": partition, "memory": memory}  # fmt: skip
    _check_slurm(asked, cluster)
    _check_names(sweep)
    _check_machines(sweep, here=cluster is None)
    needs = _needs(sweep)
    slurm: dict[str, Any] = {
        "minutes": minutes,
        "partition": partition,
        "per_job": shards_per_job,
        "at_once": jobs_at_once,
        "gigabytes": memory or (round(1 + needs / 1e9, 1) if cluster == "slurm" else None),
    }
    engine = _engine(cluster, scheduler, workers, chosen, slurm)
    here = None if cluster in ("dask", "slurm") else needs * workers
    remedy = "lower --workers, block, or the largest settings"
    with session(chosen, needs=here, remedy=remedy) as folder, Progress() as progress:
        found = run(sweep, folder, engine, progress.report)
    for name, wrong in found.damaged.items():
        typer.echo(f"{name}: {wrong}; recomputed")
    for settings, error in found.failures:
        typer.echo(f"failed: {', '.join(f'{name} = {value}' for name, value in settings.items())}: {error}")
    typer.echo(f"{found.points - len(found.failures)} of {found.points} points; sweep.nc has SHA-256 {found.digest}")
    typer.echo(f"\npicture: {chosen / 'sweep.png'}\nresult:  {chosen / 'sweep.nc'}\nsummary: {chosen / 'summary.json'}")
    if found.failures:
        raise typer.Exit(3)


def _check_slurm(asked: dict[str, Any], cluster: str | None) -> None:
    """Refuse what Slurm cannot mean; what has a default may stand without it."""
    for name in ("partition", "memory"):
        if asked[name] is not None and cluster != "slurm":
            raise InputError(name, asked[name], "has no meaning without Slurm", "add --cluster slurm")
    for name in ("time", "shards-per-job", "jobs-at-once"):
        if asked[name] < 1:
            raise InputError(name, asked[name], "is below 1", "give at least 1")
    if asked["memory"] is not None and asked["memory"] <= 0:
        raise InputError("memory", asked["memory"], "is not positive", "give the GB of a job")


def _check_names(sweep: "Sweep") -> None:
    """Refuse data and parametrizations that do not exist, before anything is written; each is looked at once."""
    from numerics.run.loading import load_problem
    from numerics.run.system import load_parametrization

    seen: set[object] = set()
    for point in sweep.points:
        if point.data != "gaussian" and point.data not in seen:
            load_problem(point)
        if (point.parametrization, point.depth) not in seen:
            load_parametrization(point)
        seen |= {point.data, (point.parametrization, point.depth)}


def _check_machines(sweep: "Sweep", here: bool) -> None:
    """Refuse engines that contradict their device and, where the work is done on this machine, cards that it lacks."""
    from numerics.run.machine import Machine

    for machine in {Machine.of(point) for point in sweep.points}:
        if here and not machine.numba:
            machine.torch_device()


def _needs(sweep: "Sweep") -> int:
    """Bytes of the largest shard's process."""
    from numerics.run.memory import peak

    def block(count: int) -> int:
        return -(-count // max(count // sweep.block, 1))

    return max(peak(point.model_copy(update={"replicas": block(point.replicas)})) for point in sweep.points)


def _engine(cluster: str | None, scheduler: str | None, workers: int, out: Path, slurm: dict[str, Any]) -> "Engine":
    from numerics.sweep import engines
    from numerics.sweep.slurm import Slurm

    if cluster != "dask" and scheduler is not None:
        raise InputError("scheduler", scheduler, "has no meaning without Dask", "add --cluster dask")
    if cluster is None:
        return engines.local(workers)
    if cluster not in ("dask", "slurm", "local"):
        raise InputError("cluster", cluster, "is unknown", "choose dask, slurm or local")
    _require("distributed" if cluster == "dask" else "submitit")
    if cluster == "dask":
        if scheduler is None:
            raise InputError("scheduler", None, "is missing", "give the address that dask scheduler printed")
        return engines.dask(scheduler)
    return Slurm(cluster, out / ".slurm", **slurm)


def _require(module: str) -> None:
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise InputError("module", module, "is not installed", "pip install 'latedecay[cluster]'")


def status_text(out: Path) -> str:
    """How far a sweep is, what failed, how long it may still take, and its results so far."""
    from numerics.lock import holder
    from numerics.sweep.runner import partial
    from numerics.sweep.shards import shards

    sweep, book, data = partial(out)
    wanted = {shard.key for point in shards(sweep) for shard in point}
    done = [book.entries[key] for key in wanted if key in book.entries]
    failed = sum(entry["failed"] for entry in done)
    running = holder(out)
    spent = sum(entry["seconds"] for entry in done)
    state = f"running ({running})" if running else "not running"
    lines = [f"{out}: {len(done)} of {len(wanted)} shards, {failed} failed; {state}"]
    if done and len(done) < len(wanted):
        lines.append(f"left: about {spent / len(done) * (len(wanted) - len(done)):.0f} s of processor time")
    lines += [f"{name}: {wrong}" for name, wrong in book.problems.items()]
    names = [name for name in ("rho", "rho_sem", "rho_prediction", "train_loss", "test_loss", "error") if name in data]
    return "\n".join([*lines, "", data[names].to_dataframe()[names].to_string(max_rows=40)])


class Progress:
    """Shards done, failures and time left, on the terminal or, every ten seconds, in a log."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.said, self.begun, self.first = 0.0, time.monotonic(), 0

    def report(self, done: int, total: int, failed: int) -> None:
        """Show it."""
        if sys.stderr.isatty():
            self._show(done, total, failed)
        elif done == total or time.monotonic() - self.said > 10:
            self.first = self.first if self.said else done
            self.said = time.monotonic()
            fresh = done - self.first
            left = f"{(self.said - self.begun) / fresh * (total - done):.0f} s left" if fresh else "time left unknown"
            print(f"sweep: {done} of {total} shards, {failed} failed, {left}", file=sys.stderr, flush=True)

    def _show(self, done: int, total: int, failed: int) -> None:
        from tqdm import tqdm

        if self.bar is None:
            self.bar = tqdm(total=total, initial=done, desc="sweep", unit=" shards", file=sys.stderr, leave=False)
        self.bar.set_postfix(failed=failed, refresh=False)
        self.bar.update(done - self.bar.n)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
