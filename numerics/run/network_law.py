"""`network-law`: the slow law integrated on a real network, beside the SGD that it predicts. torch loads on use."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from numerics.errors import InputError
from numerics.run.networks import Out, Seed, Threads, _integers, _progress

if TYPE_CHECKING:
    from numerics.networks.law_comparison import Case

Examples = Annotated[int, typer.Option("--n", help="training examples to interpolate")]
Components = Annotated[int, typer.Option(help="principal components of the digits used as inputs (parity)")]
Classes = Annotated[int, typer.Option(help="2: parity of the digit, one output; 10: the digit, ten outputs")]
Widths = Annotated[str, typer.Option(help="comma-separated layer widths")]
Activation = Annotated[str, typer.Option(help="tanh, relu or gelu")]
Gain = Annotated[float, typer.Option(help="scale of the random weights before interpolation")]
Stability = Annotated[float, typer.Option(help="eta λ_max/2 at the start; sets the learning rate")]
Batch = Annotated[int, typer.Option(help="batch size, drawn with replacement")]
Sigma = Annotated[float, typer.Option(help="standard deviation of the fresh label noise")]
Steps = Annotated[int, typer.Option(help="SGD steps")]
Records = Annotated[int, typer.Option(help="points at which law and SGD are compared")]
Runs = Annotated[int, typer.Option(help="independent SGD runs")]
Tolerance = Annotated[float, typer.Option(help="relative difference of Euler and Heun steps of the law")]
Factor = Annotated[float, typer.Option(help="late decay divides the learning rate by this")]
Branch = Annotated[int, typer.Option(help="steps after the decay")]
Table = Annotated[bool, typer.Option("--table", help="also where the law breaks: eta, noise, width, depth, ReLU")]
TableSteps = Annotated[int, typer.Option(help="SGD steps of each case of the table")]
Small = Annotated[bool, typer.Option("--small", help="a tenth of the steps")]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("network-law")(command)


def command(
    n: Examples = 60,
    components: Components = 20,
    classes: Classes = 2,
    widths: Widths = "40",
    activation: Activation = "tanh",
    gain: Gain = 2.0,
    stability: Stability = 0.3,
    batch: Batch = 5,
    sigma: Sigma = 0.1,
    steps: Steps = 60_000,
    records: Records = 12,
    runs: Runs = 8,
    tolerance: Tolerance = 0.02,
    decay_factor: Factor = 20.0,
    branch_steps: Branch = 4000,
    table: Table = False,
    table_steps: TableSteps = 20_000,
    threads: Threads = 1,
    seed: Seed = 0,
    out: Out = Path("out/network-law"),
    small: Small = False,
) -> None:
    """The finite-learning-rate law on a real network. tr H, test loss and path, predicted and simulated."""
    from numerics.networks.law_comparison import Case

    size = 10 if small else 1
    case = Case(
        n=n,
        components=components,
        classes=classes,
        widths=_integers(widths),
        activation=activation,
        gain=gain,
        stability=stability,
        batch=batch,
        sigma=sigma,
        steps=steps // size,
        records=records if not small else min(records, 4),
        runs=runs,
        seed=seed,
        tolerance=tolerance,
    )
    lines = run(
        case,
        decay_factor=decay_factor,
        branch_steps=branch_steps // size,
        table_steps=table_steps // size if table else 0,
        threads=threads,
        out=out,
    )
    typer.echo("\n".join(lines))


def run(
    case: "Case", *, decay_factor: float, branch_steps: int, table_steps: int, threads: int, out: Path
) -> list[str]:
    """Predict, simulate, draw, write everything to ``out``; the lines to print. ``table_steps`` 0: no table.

    Raises InputError for bad settings, a network that cannot interpolate, or a learning rate above the stability limit.
    """
    import torch

    from numerics.files import write_figure, write_json, write_netcdf
    from numerics.networks import law_breakdown, law_comparison, law_figure, law_report
    from numerics.provenance import provenance
    from numerics.run.network_memory import LAW_REMEDY
    from numerics.run.network_memory import network_law as peak
    from numerics.run.session import session

    started = time.perf_counter()
    if threads < 1:
        raise InputError("threads", threads, "is below 1", "give at least 1")
    torch.set_num_threads(threads)
    with session(out, needs=peak(case, table=table_steps > 0), remedy=LAW_REMEDY) as folder:
        bench = law_comparison.Bench.of(case)
        found, states = law_comparison.compare(bench, _progress)
        curve = law_comparison.late_decay(
            bench, found, states, factor=decay_factor, branch_steps=branch_steps, report=_progress
        )
        rows = law_breakdown.table(case, table_steps, _progress) if table_steps else []
        write_figure(folder.staging / "network-law", law_figure.figure(found, curve))
        write_netcdf(folder.staging / "network-law.nc", law_report.dataset(found, curve))
        record = law_report.summary(bench, found, curve, rows)
        write_json(
            folder.staging / "summary.json",
            {**record, "provenance": provenance(seed=case.seed, started=started, threads=threads)},
        )
    return [*law_report.lines(bench, found, curve, rows), f"\npicture: {out / 'network-law.png'}"]
