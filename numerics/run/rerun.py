"""`rerun`: a result made again from what it says of itself, and compared bit for bit."""

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from numerics.errors import InputError

#: commands whose results are times
_TIMED = ("bench", "device-bench", "device-check")

File = Annotated[Path, typer.Argument(help="a summary.json or .nc that a job wrote", metavar="FILE")]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("rerun")(command)


def command(file: File) -> None:
    """Run what made FILE once more, and compare the bits. In a temporary folder; exit code 3 where they differ."""
    file = file.absolute()
    made = origin(file)
    for line in differences(made):
        typer.echo(line)
    with tempfile.TemporaryDirectory() as folder, _place(made):
        arguments = _arguments(made, Path(folder))
        typer.echo(f"running {' '.join(arguments)}")
        _run([*arguments, "--out", str(Path(folder) / "again")])
        verdicts = compared(file, Path(folder) / "again")
    for name, verdict in verdicts.items():
        typer.echo(f"{name}: {verdict}")
    same = all(verdict.startswith("the same") for verdict in verdicts.values())
    typer.echo("reproduced bit for bit" if same else "NOT reproduced")
    if not same:
        raise typer.Exit(3)


def origin(file: Path) -> dict[str, Any]:
    """What the file says of how it was made; a .nc that says nothing is spoken for by the summary beside it.

    Raises InputError.
    """
    found: Any = None
    try:
        if file.suffix == ".nc":
            import xarray

            with xarray.open_dataset(file, engine="h5netcdf") as data:
                found = json.loads(data.attrs.get("provenance", "null"))
            beside = file.with_name("summary.json")
            if found is None and beside.exists():
                found = json.loads(beside.read_text())["provenance"]
        else:
            found = json.loads(file.read_text())["provenance"]
    except FileNotFoundError:
        raise InputError("FILE", file, "does not exist", "give a summary.json or .nc that a job wrote") from None
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:60]
        raise InputError(
            "FILE", file, f"cannot be read ({reason})", "check its folder with the command check"
        ) from None
    if not isinstance(found, dict) or not (found.get("arguments") or found.get("config")):
        raise InputError("FILE", file, "does not say how it was made", "give a summary.json or .nc that a job wrote")
    timed = next((job for job in _TIMED if job in found.get("arguments", [])[:1]), None)
    if timed is not None:
        remedy = f"run the command {timed} again and compare"
        raise InputError("FILE", file, "holds measured times, which no second run repeats", remedy)
    return found


def differences(made: dict[str, Any]) -> list[str]:
    """Versions that are others now than when the file was made, a line each."""
    from numerics.provenance import provenance

    now = provenance(seed=0, started=0.0, threads=1)
    now_libraries, libraries = now["libraries"], made.get("libraries", {})
    pairs = [(name, made[name], now[name]) for name in ("version", "git", "python", "machine") if name in made]
    if isinstance(now_libraries, dict):
        pairs += [(name, version, now_libraries.get(name)) for name, version in libraries.items()]
    return [f"{name}: {then} then, {today} now" for name, then, today in pairs if then != today]


@contextmanager
def _place(made: dict[str, Any]) -> Iterator[None]:
    """The folder that the paths of data files start from; refused where a file is gone or another."""
    from numerics.hashes import sha256_of_file

    cwd = Path(made.get("cwd", "."))
    for entry in made.get("inputs", []):
        path = cwd / entry["given"]
        if not path.is_file():
            raise InputError("data", path, "is not there any more", "put it back")
        if sha256_of_file(path) != entry["sha256"]:
            raise InputError("data", path, "is not the file that was read (its SHA-256 differs)", "restore it")
    with contextlib.chdir(cwd) if made.get("inputs") else contextlib.nullcontext():
        yield


def _arguments(made: dict[str, Any], folder: Path) -> list[str]:
    """The command line, without --out; a sweep's configuration is written out again."""
    if "config" in made:
        config = folder / "sweep.json"
        config.write_text(json.dumps(made["config"]))
        return ["sweep", str(config)]
    words, kept = iter(made["arguments"]), []
    for word in words:
        if word == "--out":
            next(words, None)
        elif not word.startswith("--out="):
            kept.append(word)
    return kept


def _run(arguments: list[str]) -> None:
    """The job, without its report. Raises what the job raises."""
    from numerics.run.cli import execute

    with contextlib.redirect_stdout(io.StringIO()):
        execute(arguments)


def compared(file: Path, again: Path) -> dict[str, str]:
    """Verdict by file: a .nc alone; a summary with every file beside it that the rerun wrote as well."""
    if file.suffix == ".nc":
        return {file.name: _verdict(file, again / file.name)}
    verdicts = {file.name: _contents(file, again / "summary.json")}
    for path in sorted(again.glob("*")):
        if path.suffix in (".nc", ".svg", ".pdf", ".png") and (file.parent / path.name).exists():
            verdicts[path.name] = _verdict(file.parent / path.name, path)
    return verdicts


def _verdict(file: Path, again: Path) -> str:
    from numerics.hashes import sha256_of_file

    if not again.exists():
        return "was not written again"
    first, second = sha256_of_file(file), sha256_of_file(again)
    if first == second:
        return f"the same SHA-256 {first}"
    return f"SHA-256 {first[:12]}… is {second[:12]}… now{_numbers(file, again) if file.suffix == '.nc' else ''}"


def _numbers(file: Path, again: Path) -> str:
    """Whether at least the numbers agree."""
    import xarray

    try:
        with (
            xarray.open_dataset(file, engine="h5netcdf") as first,
            xarray.open_dataset(again, engine="h5netcdf") as second,
        ):
            return "; the numbers are the same" if first.equals(second) else "; numbers differ"
    except (OSError, ValueError, RuntimeError):
        return "; one of them is damaged"


def _contents(file: Path, again: Path) -> str:
    """Summaries are compared without what may differ: clock, machine, place and threads."""
    first, second = (json.loads(path.read_text()) for path in (file, again))
    for content in (first, second):
        content.pop("provenance", None)
        if isinstance(content.get("settings"), dict):
            for name in ("out", "threads"):
                content["settings"].pop(name, None)
    if first == second:
        return "the same content"
    return "differs in " + ", ".join(sorted(k for k in {*first, *second} if first.get(k) != second.get(k)))
