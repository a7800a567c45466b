"""`schedules-bench`: late decay against other schedules on small real tasks. torch is imported when it runs."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from numerics.errors import InputError

if TYPE_CHECKING:
    from numerics.schedules.bench_report import Result
    from numerics.schedules.bench_tasks import Task

_NAMES = str.maketrans({" ": "-", "%": None, ",": None})  # of result files

Tasks = Annotated[str, typer.Option(help="comma-separated parts of task names; all by default")]
Seeds = Annotated[int, typer.Option(help="paired seeds")]
Seed = Annotated[int, typer.Option(help="first seed")]
Jobs = Annotated[int, typer.Option(help="tasks at a time, one thread each")]
Out = Annotated[Path, typer.Option(help="folder for results; a finished task is not run again")]
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
    """Late decay against constant, cosine, linear, WSD, plateau and schedule-free: final test loss, paired."""
    from numerics.files import prepare_folder, write_bytes

    if seeds < 2:
        raise InputError("seeds", seeds, "leave no standard error", "use at least 2; 10 for the table")
    if jobs < 1:
        raise InputError("jobs", jobs, "is below 1", "give at least 1")
    numbers = tuple(range(seed, seed + (3 if small else seeds)))
    folder = prepare_folder(out)
    if shown:
        text, name = _shown(numbers, folder, shorter=20 if small else 1), "shown.md"
    else:
        text, name = _compared(_chosen(tasks, small), numbers, folder, jobs), "table.md"
    for path in (folder / name, *([table] if table else [])):
        write_bytes(path, text.encode())
    typer.echo(text)


def _shown(seeds: tuple[int, ...], folder: Path, *, shorter: int) -> str:
    """The page of tasks outside the table; ``shorter`` divides their steps."""
    from dataclasses import replace

    from numerics.schedules.bench_shown import TASKS, demonstration

    tasks = [replace(task, steps=task.steps // shorter) for task in TASKS]
    return demonstration(seeds, [run_shown(task, seeds, folder) for task in tasks])


def run_shown(task: "Task", seeds: tuple[int, ...], folder: Path) -> str:
    """One task outside the table; the result of an earlier call with the same settings is read back."""
    import torch

    from numerics.files import write_json
    from numerics.schedules import bench_shown

    torch.set_num_threads(1)
    own = {"shares": bench_shown.SHARES, "tolerance": bench_shown.TOLERANCE}
    both = [_settings_of(name) for name in ("late decay", "late decay, blind")]
    settings = json.loads(json.dumps({"task": vars(task), "seeds": seeds, "shown": own, "policies": both}))
    path = folder / f"shown-{task.source}.json"
    kept = _kept(path, settings)
    if kept is None:
        kept = {"text": bench_shown.shown(task, seeds)}
        write_json(path, {"settings": settings, "result": kept})
    return str(kept["text"])


def _compared(chosen: "list[Task]", seeds: tuple[int, ...], folder: Path, jobs: int) -> str:
    """The table of the chosen tasks."""
    from joblib import Parallel, delayed

    from numerics.schedules.bench_report import Result, markdown
    from numerics.schedules.bench_tasks import TASKS

    found = Parallel(n_jobs=jobs)(delayed(run_task)(task, seeds, folder) for task in chosen)
    results = {task.name: [Result.read(row) for row in rows] for task, rows in zip(chosen, found, strict=True)}
    left_out = tuple(task.name for task in TASKS if task.name not in results)
    return markdown(results, {task.name: f"{task.steps} steps" for task in chosen}, left_out)


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


def run_task(task: "Task", seeds: tuple[int, ...], folder: Path) -> list[dict[str, Any]]:
    """Every policy on one task; results of an earlier call with the same settings are read back."""
    import torch

    from numerics.files import write_json
    from numerics.schedules.bench_policies import POLICIES
    from numerics.schedules.bench_tasks import load

    torch.set_num_threads(1)
    split = load(task, seed=seeds[0])
    rows = []
    for policy in POLICIES:
        settings = json.loads(json.dumps({"task": vars(task), "seeds": seeds, "policy": _settings_of(policy)}))
        path = folder / f"{task.name} {policy}.json".translate(_NAMES)
        row = _kept(path, settings)
        if row is None:
            row = json.loads(json.dumps(_run_policy(task, split, seeds, policy).record()))
            write_json(path, {"settings": settings, "result": row})
            print(f"{task.name}: {policy} in {row['seconds']:.0f} s", file=sys.stderr)
        rows.append(row)
    return rows


def _settings_of(policy: str) -> dict[str, Any]:
    """What a kept result must agree with besides the task: our rule may change, and what counts as a turn."""
    from numerics.schedules import average, controller, monitor
    from numerics.schedules.rule import Rule

    own = {"rule": vars(Rule()), "overhead": controller.OVERHEAD} if policy.startswith("late decay") else {}
    patience = {"patience": monitor.PATIENCE, "share": monitor.PATIENCE_SHARE, "horizon": average.HORIZON}
    return {"name": policy, **own, **(patience if policy == "late decay" else {})}


def _kept(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text())
    except ValueError:
        return None
    return content["result"] if content.get("settings") == settings else None


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
