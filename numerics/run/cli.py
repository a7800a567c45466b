"""`python -m numerics.run JOB`: the command line.

Exit codes, each with one clear line: 0; 1 unexpected, such as a full disk; 2 bad input; 3 points of a sweep failed,
files are damaged, or a rerun differs; 130 Ctrl-C; 143 SIGTERM.
"""

import difflib
import importlib
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from numerics.errors import InputError
from numerics.provenance import ARGUMENTS
from numerics.run.interrupt import MESSAGE, Interrupted, interruptible
from numerics.run.options import (
    Batch,
    Data,
    DecayFactor,
    Depth,
    Device,
    Engine,
    Features,
    Fraction,
    Gamma,
    Precision,
    Rho0,
    Rows,
    Seed,
    Shape,
    Sigma,
    Target,
    depth_of,
)  # fmt: skip

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, help=__doc__)

JOBS = {
    "phase1": "Phase I: the train loss falls to its floor (C1, C2).",
    "phase2": "Phase II: the large learning rate drifts along the manifold of minima (C2-C6).",
    "phase3": "Phase III: after decay, relaxation onto the manifold (C7).",
    "late-decay": "Many decay times off one trunk: final test loss against decay step (C8).",
}

#: modules that add commands of their own; imported only when the command is asked for, as they may need torch
PLUGINS = {
    "bench": "numerics.run.bench",
    "phase-diagram": "numerics.run.phase_diagram",
    "device-bench": "numerics.run.device_bench",
    "device-check": "numerics.run.device_check",
    "simulate": "numerics.run.simulate",
    "networks": "numerics.run.networks",
    "network-law": "numerics.run.network_law",
    "advise": "numerics.run.advise",
    "advise-check": "numerics.run.advise_check",
    "schedules-bench": "numerics.run.schedules_bench",
    "sweep": "numerics.run.sweep",
    "rerun": "numerics.run.rerun",
    "check": "numerics.run.check",
}

Eta = Annotated[str, typer.Option(help="learning rate, or auto: a share of the stability limit")]
Steps = Annotated[str, typer.Option(help="steps of the large learning rate, or auto: from the law (C6)")]
DecayAt = Annotated[str, typer.Option(help="step of the decay, or auto")]
Replicas = Annotated[int, typer.Option(help="independent runs")]
Records = Annotated[int, typer.Option(help="points along a curve")]
Threads = Annotated[int, typer.Option(help="results do not depend on it")]
Out = Annotated[Path | None, typer.Option(help="folder for figure, netCDF and summary.json [out/JOB]")]
Small = Annotated[bool, typer.Option("--small", help="a few seconds: fewer rows and replicas")]
Force = Annotated[bool, typer.Option("--force", help="run above the stability limit, and report the divergence")]


def _job_command(job: str) -> Callable[..., None]:
    def command(
        data: Data = "digits",
        n: Rows = None,
        features: Features = None,
        target: Target = None,
        parametrization: Shape = "radial",
        depth: Depth = None,
        gamma: Gamma = None,
        eta: Eta = "auto",
        eta_fraction: Fraction = 0.6,
        batch: Batch = 4,
        sigma: Sigma = 0.03,
        rho0: Rho0 = "auto",
        steps: Steps = "auto",
        decay_at: DecayAt = "auto",
        decay_factor: DecayFactor = 10.0,
        replicas: Replicas = 48,
        records: Records = 800,
        seed: Seed = 0,
        threads: Threads = 2,
        device: Device = "cpu",
        engine: Engine = "auto",
        precision: Precision = "float64",
        out: Out = None,
        small: Small = False,
        force: Force = False,
    ) -> None:
        options = {name: value for name, value in locals().items() if name != "job"}
        options["depth"] = depth_of(options.pop("depth"), options.pop("gamma"))
        options["out"] = out or Path("out") / job
        run_job(job, options)

    command.__doc__ = JOBS[job]
    return command


for _job in JOBS:
    app.command(_job)(_job_command(_job))


def run_job(job: str, options: dict[str, Any]) -> None:
    """Validate, compute, write, print."""
    started = time.perf_counter()
    from numerics.run import report
    from numerics.run.library import outcome_of
    from numerics.run.machine import Machine
    from numerics.run.memory import REMEDY, peak
    from numerics.run.session import session
    from numerics.run.settings import validated

    settings = validated(job=job, **numbers_or_auto(options))
    Machine.of(settings).require()
    with session(settings.out, needs=peak(settings), remedy=REMEDY) as folder:
        with Progress(job) as progress:
            outcome = outcome_of(settings, progress.tick, progress.begin)
        report.write(outcome, folder.staging, started)
    typer.echo(report.text(outcome))
    stem = settings.out / job
    typer.echo(f"\npicture: {stem}.png\ncurves:  {stem}.nc\nsummary: {settings.out / 'summary.json'}")


def numbers_or_auto(options: dict[str, Any]) -> dict[str, Any]:
    """The options with texts that stand for a number or "auto" read. Raises InputError for other texts."""
    kinds = {"eta": float, "rho0": float, "steps": int, "decay_at": int}
    return options | {
        name: _number_or_auto(name, options[name], kind) for name, kind in kinds.items() if name in options
    }


def _number_or_auto(name: str, text: str, kind: type[int] | type[float]) -> object:
    if text == "auto":
        return text
    try:
        value = float(text)
        if kind is int and value != int(value):
            raise ValueError
        return kind(value)
    except (ValueError, OverflowError):
        what = "a whole number" if kind is int else "a number"
        raise InputError(name.replace("_", "-"), text, f"is neither {what} nor auto", "give one of them") from None


class Progress:
    """A bar on the terminal, started when the number of steps is known."""

    def __init__(self, job: str) -> None:
        self.job, self.bar = job, None

    def begin(self, total: int) -> None:
        """Show the bar."""
        from tqdm import tqdm

        self.bar = tqdm(total=total, desc=self.job, unit=" steps", unit_scale=True, file=sys.stderr, leave=False)

    def tick(self, steps: int) -> None:
        """Move it."""
        if self.bar is not None:
            self.bar.update(steps)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    arguments = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        with interruptible():
            code = execute(arguments)
    except InputError as error:
        _refuse(str(error))
    except TyperException as error:
        _refuse(_usage_line(error, arguments))
    except Interrupted as stop:
        print(MESSAGE, file=sys.stderr)
        sys.exit(stop.code)
    except OSError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)
    sys.exit(code)


def execute(arguments: list[str]) -> int:
    """Run one command; its exit code. Raises what `main` turns into a line."""
    token = ARGUMENTS.set(arguments)
    try:
        _load_plugins(arguments)
        return app(arguments, standalone_mode=False) or 0
    finally:
        ARGUMENTS.reset(token)


def _refuse(line: str) -> None:
    print(f"error: {line}", file=sys.stderr)
    sys.exit(2)


def _usage_line(error: TyperException, arguments: list[str]) -> str:
    """typer's complaint in one line, with the nearest command or option."""
    message = " ".join(error.format_message().split())
    option = getattr(error, "option_name", None)
    if option is not None and message.startswith("No such option"):
        known = [name for parameter in error.ctx.command.params for name in parameter.opts]  # type: ignore[attr-defined]
        return f"unknown option {option}; " + _nearest(option, known, "see --help")
    if message.startswith("No such command"):
        jobs = [*JOBS, *PLUGINS]
        word = message.split("'")[1]
        return f"unknown job {word}; " + _nearest(word, jobs, f"choose {', '.join(jobs)}")
    invalid = re.match(r"Invalid value for '(--[\w-]+)': (.*)", message)
    if invalid:
        name, reason = invalid.groups()
        return f"{name[2:]} = {_given(name, arguments)} is not valid ({reason.rstrip('.').lower()}); see --help"
    return message


def _given(option: str, arguments: list[str]) -> str:
    """What stood behind an option on the command line."""
    for i, argument in enumerate(arguments):
        if argument.startswith(option + "="):
            return argument[len(option) + 1 :]
        if argument == option and i + 1 < len(arguments):
            return arguments[i + 1]
    return ""


def _nearest(word: str, known: list[str], otherwise: str) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else otherwise


def _load_plugins(arguments: list[str]) -> None:
    """Let the module behind the command register itself; all of them for the help page."""
    first = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, module in PLUGINS.items():
        if first == name or first is None:
            try:
                importlib.import_module(module).register(app)
            except ModuleNotFoundError as error:
                if first == name:
                    remedy = "pip install 'latedecay[torch]'" if error.name == "torch" else "install it"
                    raise InputError("module", error.name, "is not installed", remedy) from None
