"""`check`: whether every file of a result is what was written."""

from pathlib import Path
from typing import Annotated

import typer

from numerics.errors import InputError

Folder = Annotated[Path, typer.Argument(help="a folder that a job or a sweep wrote", metavar="FOLDER")]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("check")(command)


def command(folder: Folder) -> None:
    """Compare a result's files with their recorded SHA-256. Exit code 3 where one is damaged or missing."""
    from numerics.folder import interrupted, recover
    from numerics.lock import locked

    if not folder.is_dir():
        raise InputError("FOLDER", folder, "is not a folder", "give one that a job wrote")
    if interrupted(folder):
        with locked(folder):
            recover(folder)
        typer.echo("a kill came while files were moved into place: done now")
    count, wrong = verify(folder)
    for name, reason in wrong.items():
        typer.echo(f"{name}: {reason}")
    if not count and not wrong:
        raise InputError("FOLDER", folder, "holds no recorded result", "give one that a job wrote")
    typer.echo(f"{count} files checked, {len(wrong)} wrong")
    if wrong:
        raise typer.Exit(3)


def verify(folder: Path) -> tuple[int, dict[str, str]]:
    """How many files have a recorded hash, and what is wrong: the list, journal and shards, checkpoints."""
    from numerics import hashes

    try:
        sums = hashes.read(folder)
        wrong = hashes.damaged(folder, sums)
    except ValueError:
        sums, wrong = {}, {hashes.NAME: "damaged"}
    count = len(sums)
    for examine in (_shards, _checkpoints):
        more, found = examine(folder)
        count += more
        wrong |= found
    return count, wrong


def _shards(folder: Path) -> tuple[int, dict[str, str]]:
    """The journal and shards of unfinished work. Where a sweep has ended, shards that it lost are named, too."""
    from numerics import journal
    from numerics.sweep.config import parse
    from numerics.sweep.shards import shards

    book = journal.read(folder)
    if not book.path.exists():
        return 0, {}
    wrong = dict(book.problems)
    if book.header is not None and "sweep" in book.header and (folder / "sweep.nc").exists():
        wanted = {shard.key for point in shards(parse(book.header["sweep"])) for shard in point}
        lost = [key for key in wanted if key not in book.entries and f"shards/{key}.json" not in wrong]
        wrong |= {f"shards/{key}.json": "not in the journal" for key in lost}
    elif book.header is None:
        wrong[journal.NAME] = "its first line is damaged or missing"
    return 1 + len(book.entries), wrong


def _checkpoints(folder: Path) -> tuple[int, dict[str, str]]:
    """Checkpoints carry their own hash."""
    from numerics.networks import checkpoint

    paths, wrong = sorted(folder.rglob(f"*{checkpoint.SUFFIX}")), {}
    for path in paths:
        try:
            checkpoint.load(path)
        except InputError as error:
            wrong[str(path.relative_to(folder))] = error.rule
    return len(paths), wrong
