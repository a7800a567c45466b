"""`networks`: trunk, branches and landscapes of real networks. torch is imported when the command runs."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from numerics.errors import InputError

if TYPE_CHECKING:
    from numerics.networks.configurations import Configuration

Name = Annotated[str, typer.Option(help="a named configuration; --list shows them")]
Folder = Annotated[Path | None, typer.Option(help="where MNIST or CIFAR files lie (mnist*, cifar* configurations)")]
Kinds = Annotated[
    str | None, typer.Option(help="comma-separated: fresh, minibatch, static, none [all; cifar*: minibatch]")
]
Surfaces = Annotated[str, typer.Option(help="comma-separated: pca, curved, branches, random, filter; '' for none")]
Level = Annotated[float, typer.Option(help="openness: the level set this far above the minimum")]
Grid = Annotated[int, typer.Option(help="landscape points per side")]
Shown = Annotated[int | None, typer.Option(help="training examples of a landscape [all, 500 at most]")]
HeldOut = Annotated[int | None, typer.Option(help="held-out examples of a landscape [as many as training ones]")]
Reset = Annotated[bool, typer.Option("--reset-momentum", help="branches start at rest")]
Threads = Annotated[int, typer.Option(help="torch threads; bits are reproducible at a fixed number")]
Seed = Annotated[int, typer.Option(help="of everything random")]
Out = Annotated[Path, typer.Option(help="folder for figures, netCDF, summary.json and checkpoints")]
Small = Annotated[bool, typer.Option("--small", help="under a minute: shows that it works, not the benefit")]
Law = Annotated[bool, typer.Option("--law", help="also predict the late-decay curve by the slow law C3 (minutes)")]
Throughput = Annotated[bool, typer.Option("--throughput", help="only measure: batched against one after another")]
Listing = Annotated[bool, typer.Option("--list", help="show the named configurations and stop")]
Seeds = Annotated[int | None, typer.Option(help="paired seeds")]
Eta = Annotated[float | None, typer.Option(help="large learning rate")]
Noise = Annotated[float | None, typer.Option(help="label noise: deviation, or flip probability")]
Momentum = Annotated[float | None, typer.Option(help="momentum")]
Decay = Annotated[float | None, typer.Option(help="weight decay")]
Batch = Annotated[int | None, typer.Option(help="batch size")]
First = Annotated[int | None, typer.Option(help="first decay step after 0")]
Last = Annotated[int | None, typer.Option(help="last decay step; the trunk's length")]
Decays = Annotated[int | None, typer.Option(help="number of decay steps between the two")]
Factor = Annotated[float | None, typer.Option(help="the decay divides the learning rate by this")]
Branch = Annotated[int | None, typer.Option(help="steps of every branch")]
Train = Annotated[int | None, typer.Option(help="training examples")]
Width = Annotated[str | None, typer.Option(help="comma-separated layer widths")]
Activation = Annotated[str | None, typer.Option(help="tanh, relu or gelu")]

_FIELDS = (
    *("seeds", "n_train", "eta", "noise", "momentum", "weight_decay", "batch", "first_decay", "last_decay"),
    *("decays", "factor", "branch_steps"),
)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("networks")(command)


def command(
    config: Name = "digits",
    data_folder: Folder = None,
    kinds: Kinds = None,
    surfaces: Surfaces = "pca,curved,branches,filter",
    level: Level = 0.02,
    grid: Grid = 41,
    landscape_train: Shown = None,
    landscape_held_out: HeldOut = None,
    reset_momentum: Reset = False,
    seeds: Seeds = None,
    n_train: Train = None,
    widths: Width = None,
    activation: Activation = None,
    eta: Eta = None,
    noise: Noise = None,
    momentum: Momentum = None,
    weight_decay: Decay = None,
    batch: Batch = None,
    first_decay: First = None,
    last_decay: Last = None,
    decays: Decays = None,
    factor: Factor = None,
    branch_steps: Branch = None,
    threads: Threads = 2,
    seed: Seed = 0,
    out: Out = Path("out/networks"),
    law: Law = False,
    small: Small = False,
    throughput: Throughput = False,
    listing: Listing = False,
) -> None:
    """Real networks: one trunk, and decays branched off it. With landscapes around them."""
    given = locals()
    changes = {name: given[name] for name in _FIELDS if given[name] is not None}
    configuration = _configuration(config, changes, widths, activation, small)
    if listing:
        return _list()
    if throughput:
        return _throughput(configuration, data_folder, threads, seed)
    summary = run(
        configuration,
        kinds=configuration.kinds if kinds is None else _words(kinds),
        surfaces=_words(surfaces),
        level=level,
        grid=min(grid, 15) if small else grid,
        shown=(landscape_train, landscape_held_out),
        keep_momentum=not reset_momentum,
        law=law,
        data_folder=data_folder,
        threads=threads,
        seed=seed,
        out=out,
    )
    typer.echo("\n".join(summary))
    if small:
        typer.echo("--small: 2 seeds and short runs show that everything works; run without it to judge the benefit")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _configuration(
    name: str, changes: dict[str, Any], widths: str | None, activation: str | None, small: bool
) -> "Configuration":
    """The named configuration with single fields changed."""
    from dataclasses import replace

    from numerics.networks.configurations import made_small, named

    chosen = named(name)
    network = chosen.architecture
    if widths is not None:
        network = replace(network, widths=_integers(widths))
    if activation is not None:
        network = replace(network, activation=activation)
    chosen = made_small(chosen) if small else chosen
    return replace(chosen, architecture=network, **changes)


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in _words(text))
    except ValueError:
        raise InputError("widths", text, "is not a list of whole numbers", "write them as 64,64") from None


def _list() -> None:
    from numerics.networks.configurations import CONFIGURATIONS

    for entry in CONFIGURATIONS.values():
        typer.echo(f"{entry.name:16} {entry.source:10} {entry.architecture.kind:4} {entry.origin}")


def _throughput(configuration: "Configuration", data_folder: Path | None, threads: int, seed: int) -> None:
    import torch

    from numerics.networks.throughput import lines

    torch.set_num_threads(threads)
    typer.echo("\n".join(lines(configuration, folder=data_folder, seed=seed)))


def run(
    configuration: "Configuration",
    *,
    kinds: tuple[str, ...],
    surfaces: tuple[str, ...],
    level: float,
    grid: int,
    shown: tuple[int | None, int | None],
    keep_momentum: bool,
    law: bool,
    data_folder: Path | None,
    threads: int,
    seed: int,
    out: Path,
) -> list[str]:
    """Train or resume, measure, draw, write everything to ``out``; the lines to print.

    Raises InputError for bad settings, missing data, damaged checkpoints, and where training diverges.
    """
    import torch

    from numerics.files import write_figure, write_json, write_netcdf
    from numerics.networks import late_decay, late_decay_law, late_decay_report
    from numerics.networks.data import files_of
    from numerics.provenance import provenance
    from numerics.run.network_memory import NETWORKS_REMEDY, networks
    from numerics.run.session import session

    started = time.perf_counter()
    if threads < 1:
        raise InputError("threads", threads, "is below 1", "give at least 1")
    for name, count in zip(("landscape train", "landscape held out"), shown, strict=True):
        if count is not None and count < 1:
            raise InputError(name, count, "is below 1", "give at least one example")
    torch.set_num_threads(threads)
    inputs = [str(path) for path in files_of(configuration.source, data_folder)]
    needs = networks(configuration, kinds, law=law, surfaces=bool(surfaces))
    with session(out, needs=needs, remedy=NETWORKS_REMEDY) as folder:
        experiment = late_decay.prepare(
            configuration,
            kinds,
            out=folder.out,
            seed=seed,
            data_folder=data_folder,
            keep_momentum=keep_momentum,
            report=_progress,
        )
        print("\n".join(late_decay.plan_lines(experiment)))
        if law:
            late_decay_law.require_conditions(experiment)
        late_decay.train(experiment)
        data = late_decay.measure(experiment)
        predicted = late_decay_law.predict(experiment, data, _progress) if law else None
        write_figure(folder.staging / "networks", late_decay_report.figure(data, predicted))
        drawn = late_decay_report.landscapes(
            experiment, data, surfaces, level, grid, shown, seed, folder.out, folder.staging, _progress
        )
        write_netcdf(folder.staging / "networks.nc", late_decay_report.dataset(data, predicted, drawn))
        record = late_decay_report.summary(experiment, data, predicted, drawn)
        made = provenance(seed=seed, started=started, threads=threads, inputs=inputs)
        write_json(folder.staging / "summary.json", {**record, "provenance": made})
    return [*late_decay_report.lines(experiment, data, predicted, drawn), f"\npicture: {out / 'networks.png'}"]


def _progress(line: str) -> None:
    """One line on the terminal that the next one replaces."""
    print(f"\r\x1b[K{line}" if sys.stderr.isatty() else line, end="" if sys.stderr.isatty() else "\n", file=sys.stderr)
