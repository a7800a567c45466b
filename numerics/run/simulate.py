"""`simulate`: any dynamics under any noise model, beside what theory predicts for it, or says that it does not."""

import time
from typing import Any

import typer

from numerics.run.options import options_of, values
from numerics.run.simulate_options import SimulateSettings, settings_of


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("simulate")(command)


@options_of(SimulateSettings, job="simulate")
def command(**given: Any) -> None:
    """Any dynamics under any noise, beside floor and drift."""
    started = time.perf_counter()
    from threadpoolctl import threadpool_limits

    from numerics.run import simulate_report as report
    from numerics.run.memory import REMEDY, peak
    from numerics.run.progress import Progress
    from numerics.run.session import session
    from numerics.run.simulate_found import compute
    from numerics.run.simulate_scene import make_scene

    settings = settings_of(values(given))
    with session(settings.out, needs=peak(settings), remedy=REMEDY) as folder:
        with threadpool_limits(1), Progress("simulate") as progress:
            found = compute(make_scene(settings, settings.choice), progress.begin, progress.tick)
        report.write(found, folder.staging, started)
    typer.echo(report.text(found))
    stem = settings.out / "simulate"
    typer.echo(f"\npicture: {stem}.png\ncurves:  {stem}.nc\nsummary: {settings.out / 'summary.json'}")
