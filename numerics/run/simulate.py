"""`simulate`: any dynamics under any noise model, beside what theory predicts for it, or says that it does not."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from numerics.run import options

Dynamics = Annotated[str, typer.Option(help="sgd, momentum, gradient-flow, sde, sde2 (weak order two), slow-law")]
Noise = Annotated[
    str | None,
    typer.Option(help="gaussian, rademacher, student, flips, minibatch, isotropic, static, dropout [gaussian]"),
]
Sampling = Annotated[str | None, typer.Option(help="with-replacement, without-replacement, shuffle [with-replacement]")]
Momentum = Annotated[float | None, typer.Option(help="beta of heavy ball [0.9]")]
Substeps = Annotated[int | None, typer.Option(help="time steps of the SDE's scheme per step of SGD [8; sde2: 4]")]
Sigma = Annotated[float | None, typer.Option(help="standard deviation of the label noise [0.03]")]
Freedom = Annotated[float | None, typer.Option(help="degrees of freedom of Student's noise, above 4 [8]")]
Flip = Annotated[float | None, typer.Option(help="probability that a label is flipped in a step [0.2]")]
Tau = Annotated[float | None, typer.Option(help="isotropic noise on every component of the gradient [from the law]")]
Dropout = Annotated[float | None, typer.Option(help="probability that an entry of a drawn input is put to 0 [0.02]")]
Batch = Annotated[int, typer.Option(help="batch size")]
Eta = Annotated[str, typer.Option(help="learning rate, or auto: a share of this dynamics' stability limit")]
Fraction = Annotated[float, typer.Option(help="that share; flips, isotropic and dropout take a small one of their own")]
Rho0 = Annotated[str, typer.Option(help="start: distance from the minimum-norm solution, or auto: 1.5 |w_mn|")]
Steps = Annotated[str, typer.Option(help="steps, or auto: from the law")]
Replicas = Annotated[
    int | None, typer.Option(help="independent runs, where anything is random [48; isotropic: 480, with --small 160]")
]
Records = Annotated[int, typer.Option(help="points along a curve")]
Seed = Annotated[int, typer.Option(help="of everything random")]
Threads = Annotated[int, typer.Option(help="results do not depend on it")]
Out = Annotated[Path, typer.Option(help="folder for figure, netCDF and summary.json")]
Small = Annotated[bool, typer.Option("--small", help="a few seconds: fewer rows and replicas")]
Force = Annotated[bool, typer.Option("--force", help="run above the stability limit, and report the divergence")]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("simulate")(command)


def command(
    dynamics: Dynamics = "sgd",
    noise: Noise = None,
    sampling: Sampling = None,
    momentum: Momentum = None,
    substeps: Substeps = None,
    sigma: Sigma = None,
    freedom: Freedom = None,
    flip: Flip = None,
    tau: Tau = None,
    dropout: Dropout = None,
    data: options.Data = "digits",
    n: options.Rows = None,
    features: options.Features = None,
    target: options.Target = None,
    parametrization: options.Shape = "radial",
    depth: options.Depth = None,
    gamma: options.Gamma = None,
    batch: Batch = 4,
    eta: Eta = "auto",
    eta_fraction: Fraction = 0.5,
    rho0: Rho0 = "auto",
    steps: Steps = "auto",
    replicas: Replicas = None,
    records: Records = 800,
    seed: Seed = 0,
    threads: Threads = 2,
    out: Out = Path("out/simulate"),
    small: Small = False,
    force: Force = False,
) -> None:
    """Any dynamics under any noise model, beside its predicted floor and drift."""
    given = dict(locals())
    given["depth"] = options.depth_of(given["depth"], given.pop("gamma"))
    _run(given)


def _run(given: dict[str, Any]) -> None:
    """Validate, compute, write, print."""
    started = time.perf_counter()
    from threadpoolctl import threadpool_limits

    from numerics.run import simulate_report as report
    from numerics.run.cli import Progress, numbers_or_auto
    from numerics.run.memory import REMEDY, peak
    from numerics.run.session import session
    from numerics.run.simulate_options import settings_of
    from numerics.run.simulate_scene import make_scene

    settings = settings_of(numbers_or_auto(given))
    with session(settings.out, needs=peak(settings), remedy=REMEDY) as folder:
        with threadpool_limits(1), Progress("simulate") as progress:
            found = report.compute(make_scene(settings, settings.choice), progress.begin, progress.tick)
        report.write(found, folder.staging, started)
    typer.echo(report.text(found))
    stem = settings.out / "simulate"
    typer.echo(f"\npicture: {stem}.png\ncurves:  {stem}.nc\nsummary: {settings.out / 'summary.json'}")
