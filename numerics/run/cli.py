"""`python -m numerics.run JOB`: the command line. `JOB --help` shows a job's options.

Exit codes, each with one clear line: 0; 1 unexpected, such as a full disk; 2 bad input; 3 points of a sweep failed,
files are damaged, or a rerun differs; 130 Ctrl-C; 143 SIGTERM.
"""

import difflib
import importlib
import re
import sys

import typer
from typer.exceptions import TyperException

from numerics.errors import InputError
from numerics.provenance import ARGUMENTS
from numerics.run.interrupt import MESSAGE, Interrupted, interruptible

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 120},
)


@app.callback(help=__doc__)
def _jobs() -> None:
    """Without it a single job that registers would be the whole command line."""


#: job -> the module that adds it; imported only when the job is asked for, as it may need torch
PLUGINS = {
    **dict.fromkeys(("phase1", "phase2", "phase3", "late-decay"), "numerics.run.phases"),
    "simulate": "numerics.run.simulate",
    "phase-diagram": "numerics.run.phase_diagram",
    "advise": "numerics.run.advise",
    "networks": "numerics.run.networks",
    "network-law": "numerics.run.network_law",
    "sweep": "numerics.run.sweep",
    "check": "numerics.run.check",
    "rerun": "numerics.run.rerun",
    "advise-check": "numerics.run.advise_check",
    "schedules-bench": "numerics.run.schedules_bench",
    "bench": "numerics.run.bench",
    "device-bench": "numerics.run.device_bench",
    "device-check": "numerics.run.device_check",
}


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
        word = message.split("'")[1]
        return f"unknown job {word}; " + _nearest(word, [*PLUGINS], f"choose {', '.join(PLUGINS)}")
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
    for module in dict.fromkeys(PLUGINS.values()):
        asked = PLUGINS.get(first or "") == module
        if asked or first is None:
            try:
                importlib.import_module(module).register(app)
            except ModuleNotFoundError as error:
                if asked:
                    remedy = "pip install 'latedecay[torch]'" if error.name == "torch" else "install it"
                    raise InputError("module", error.name, "is not installed", remedy) from None
