"""`phase1`, `phase2`, `phase3`, `late-decay`: the jobs of the main command, each a table, a figure and its curves."""

import time
from collections.abc import Callable
from typing import Any

import typer

from numerics.run.options import options_of, values
from numerics.run.settings import Settings, validated

JOBS = {
    "phase1": "Phase I: the train loss falls to its floor (C1, C2).",
    "phase2": "Phase II: drift along the minima at a large rate (C2-C6).",
    "phase3": "Phase III: after decay, relaxation onto the minima (C7).",
    "late-decay": "Final test loss against decay time, off one trunk (C8).",
}


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for job in JOBS:
        app.command(job)(_command(job))


def _command(job: str) -> Callable[..., None]:
    @options_of(Settings, job=job)
    def command(**given: Any) -> None:
        run_job(job, given)

    command.__doc__ = JOBS[job]
    return command


def run_job(job: str, given: dict[str, Any]) -> None:
    """Validate, compute, write, print."""
    started = time.perf_counter()
    from numerics.run import report
    from numerics.run.library import outcome_of
    from numerics.run.machine import Machine
    from numerics.run.memory import REMEDY, peak
    from numerics.run.progress import Progress
    from numerics.run.session import session

    settings = validated(job=job, **values(given))
    Machine.of(settings).require()
    with session(settings.out, needs=peak(settings), remedy=REMEDY) as folder:
        with Progress(job) as progress:
            outcome = outcome_of(settings, progress.tick, progress.begin)
        report.write(outcome, folder.staging, started)
    typer.echo(report.text(outcome))
    stem = settings.out / job
    typer.echo(f"\npicture: {stem}.png\ncurves:  {stem}.nc\nsummary: {settings.out / 'summary.json'}")
