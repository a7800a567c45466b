"""`schedules-bench`: late decay against other schedules on small real tasks. torch is imported when it runs."""

import sys
import time
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from numerics.errors import InputError

if TYPE_CHECKING:
    from numerics.schedules.bench_report import Result
    from numerics.schedules.bench_tasks import Task

Tasks = Annotated[str, typer.Option(help="comma-separated parts of task names; all by default")]
Seeds = Annotated[int, typer.Option(help="paired seeds")]
Seed = Annotated[int, typer.Option(help="first seed")]
Jobs = Annotated[int, typer.Option(help="tasks at a time, one thread each")]
Out = Annotated[Path, typer.Option(help="folder for the table and summary.json; what is finished is not run again")]
Table = Annotated[Path | None, typer.Option(help="also write the table to this .md file")]
Shown = Annotated[bool, typer.Option("--shown", help="instead: a task outside the table, and the decays not chosen")]
Small = Annotated[bool, typer.Option("--small", help="under a minute: three tasks, three seeds, a tenth of the steps")]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("schedules-bench")(command)


def command(
    tasks: Tasks = "",
    seeds: Seeds = 10,
    seed: Seed = 100,
    jobs: Jobs = 2,
    out: Out = Path("out/schedules-bench"),
    table: Table = None,
    shown: Shown = False,
    small: Small = False,
) -> None:
    """Late decay against seven others, paired. Constant, cosine, linear, WSD, plateau, schedule-free."""
    from numerics.files import write_bytes, write_json
    from numerics.run.network_memory import BENCH_REMEDY
    from numerics.run.network_memory import schedules_bench as peak
    from numerics.run.session import session

    if seeds < 2:
        raise InputError("seeds", seeds, "leave no standard error", "use at least 2; 10 for the table")
    if jobs < 1:
        raise InputError("jobs", jobs, "is below 1", "give at least 1")
    started, numbers = time.perf_counter(), range(seed, seed + (3 if small else seeds))
    chosen = _outside(20 if small else 1) if shown else _chosen(tasks, small)
    with session(out, needs=peak(jobs, len(numbers)), remedy=BENCH_REMEDY) as folder:
        text, record = (_shown if shown else _compared)(chosen, tuple(numbers), folder.out, jobs)
        for path in (folder.staging / ("shown.md" if shown else "table.md"), *([table] if table else [])):
            write_bytes(path, text.encode())
        made = _provenance(["--shown"] if shown else ["--tasks", tasks], small, numbers, started)
        made |= {"seconds": record.pop("seconds", None)}
        write_json(folder.staging / "summary.json", {"job": "schedules-bench", **record, "provenance": made})
    typer.echo(text)


def _provenance(words: list[str], small: bool, seeds: range, started: float) -> dict[str, object]:
    """Without --table and --jobs, which change no number, and the first of which writes elsewhere."""
    from numerics.provenance import provenance

    numbers = ["--seed", str(seeds[0]), "--seeds", str(len(seeds)), *(["--small"] if small else [])]
    return provenance(seed=seeds[0], started=started, threads=1, arguments=["schedules-bench", *words, *numbers])


def _outside(shorter: int) -> "list[Task]":
    """The tasks outside the table; ``shorter`` divides their steps."""
    from dataclasses import replace

    from numerics.schedules.bench_shown import TASKS

    return [replace(task, steps=task.steps // shorter) for task in TASKS]


def _shown(chosen: "list[Task]", seeds: tuple[int, ...], out: Path, jobs: int) -> tuple[str, dict[str, Any]]:
    """The page of tasks outside the table, and what summary.json holds of it."""
    from numerics.schedules import bench_shown

    own = {"shares": list(bench_shown.SHARES), "tolerance": bench_shown.TOLERANCE}
    own["policies"] = [_settings_of(name) for name in ("late decay", "late decay, blind")]
    pieces = [{"task": vars(task), "seeds": list(seeds), "shown": own} for task in chosen]
    parts = [found["text"] for found in _finished(pieces, run_shown, out, jobs)]
    return bench_shown.demonstration(seeds, parts), {"seeds": seeds, "parts": parts}


def run_shown(piece: dict[str, Any]) -> dict[str, Any]:
    """One task outside the table."""
    import torch

    from numerics.schedules.bench_shown import shown
    from numerics.schedules.bench_tasks import Task

    torch.set_num_threads(1)
    return {"text": shown(Task(**piece["task"]), tuple(piece["seeds"]))}


def _compared(chosen: "list[Task]", seeds: tuple[int, ...], out: Path, jobs: int) -> tuple[str, dict[str, Any]]:
    """The table of the chosen tasks, and what summary.json holds of it: results, and apart from them their seconds."""
    from numerics.schedules.bench_policies import POLICIES
    from numerics.schedules.bench_report import Result, markdown
    from numerics.schedules.bench_tasks import TASKS

    pieces = [
        {"task": vars(task), "seeds": list(seeds), "policy": _settings_of(policy)}
        for task in chosen
        for policy in POLICIES
    ]
    rows = iter(_finished(pieces, run_policy, out, jobs))
    kept = {task.name: [next(rows) for _ in POLICIES] for task in chosen}
    results = {name: [Result.read(row) for row in some] for name, some in kept.items()}
    left_out = tuple(task.name for task in TASKS if task.name not in results)
    text = markdown(results, {task.name: f"{task.steps} steps" for task in chosen}, left_out)
    seconds = {name: [row.pop("seconds") for row in some] for name, some in kept.items()}
    return text, {"seeds": seeds, "results": kept, "seconds": seconds}


def _finished(
    pieces: list[dict[str, Any]], work: Callable[[dict[str, Any]], dict[str, Any]], out: Path, jobs: int
) -> list[dict[str, Any]]:
    """The result of every piece, kept in ``out`` under the hash of its settings as it comes."""
    from numerics import journal
    from numerics.hashes import canonical, sha256_of_bytes
    from numerics.provenance import versions
    from numerics.workers import finish

    book = journal.resume(out, {"job": "schedules-bench", **versions("torch", "scikit-learn", "mnist1d")})
    for name, wrong in book.problems.items():
        typer.echo(f"{name}: {wrong}; recomputed")
    items = {sha256_of_bytes(canonical(piece).encode())[:32]: piece for piece in pieces}
    return list(finish(book, items, work, jobs, _progress).values())


def _progress(done: int, total: int) -> None:
    print(f"{done} of {total} runs", file=sys.stderr, flush=True)


def _chosen(words: str, small: bool) -> "list[Task]":
    """Tasks whose name holds one of the words."""
    from dataclasses import replace

    from numerics.schedules.bench_tasks import TASKS

    parts = [part.strip() for part in words.split(",") if part.strip()]
    for part in parts:
        if not any(part in task.name for task in TASKS):
            raise InputError("tasks", part, "names no task", f"choose from: {'; '.join(task.name for task in TASKS)}")
    found = [task for task in TASKS if not parts or any(part in task.name for part in parts)]
    if small:
        return [replace(task, steps=task.steps // 10) for task in found[:3]]
    return found


def run_policy(piece: dict[str, Any]) -> dict[str, Any]:
    """One policy on one task; null is a diverged replica's loss."""
    import torch

    from numerics.schedules.bench_tasks import Task, load

    torch.set_num_threads(1)
    task, seeds = Task(**piece["task"]), tuple(piece["seeds"])
    record = _run_policy(task, load(task, seed=seeds[0]), seeds, piece["policy"]["name"]).record()
    return record | {"test": [loss if isfinite(loss) else None for loss in record["test"]]}


def _settings_of(policy: str) -> dict[str, Any]:
    """What a kept result must agree with besides the task: our rule may change, and what counts as a turn."""
    from numerics.schedules import average, controller, monitor
    from numerics.schedules.rule import Rule

    own = {"rule": vars(Rule()), "overhead": controller.OVERHEAD} if policy.startswith("late decay") else {}
    patience = {"patience": monitor.PATIENCE, "share": monitor.PATIENCE_SHARE, "horizon": average.HORIZON}
    return {"name": policy, **own, **(patience if policy == "late decay" else {})}


def _run_policy(task: "Task", split: Any, seeds: tuple[int, ...], policy: str) -> "Result":
    """Train one stack: every seed at every learning rate that the policy chooses between."""
    from numerics.schedules.bench_policies import POLICIES, Late
    from numerics.schedules.bench_report import Result
    from numerics.schedules.bench_train import Stack, train, train_schedule_free

    free = policy == "schedule-free"
    rates = (*([3 * task.eta] if free else []), task.eta, task.eta / 3)
    stack = Stack.of(task, split, seeds, rates)
    chosen = POLICIES[policy](stack)
    started = time.perf_counter()
    theta = (train_schedule_free if free else train)(stack, chosen)
    seconds = time.perf_counter() - started
    notes = [controller.verdict for controller in chosen.controllers] if isinstance(chosen, Late) else []
    valid, test = stack.losses(theta, held="valid"), stack.losses(theta, held="test")
    return Result.chosen(policy, rates, valid, test, seconds, notes or [""] * stack.count)
