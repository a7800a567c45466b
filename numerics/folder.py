"""A folder of results: one writer at a time, all of a run's files or none of them, and a record of their hashes.

A run writes into a hidden folder beside its results. One rename of that folder decides: from then on a kill leads
forward (the next visitor moves the files into place), before it back. An error while files are moved restores the old.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from numerics import hashes
from numerics.files import prepare_folder, remove_temporaries, sync_folder, write_bytes
from numerics.lock import locked

_NEXT, _READY, _OLD = ".next", ".ready", ".old"
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EXDEV, errno.ENOSYS)


@dataclass(frozen=True)
class ResultFolder:
    """``out``: where results end up, and what a run resumes from lies; ``staging``: where to write them."""

    out: Path
    staging: Path


@contextmanager
def result_folder(path: str | os.PathLike[str]) -> Iterator[ResultFolder]:
    """Lock the folder; what the body writes into ``staging`` becomes the result if the body ends, all at once.

    Raises InputError where the folder cannot be written or another process has it; OSError where the disk fails, and
    then the results that were there before are there still.
    """
    out = prepare_folder(path)
    with locked(out):
        recover(out)
        remove_temporaries(out)
        staging = out / _NEXT
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            yield ResultFolder(out, staging)
            _commit(out, staging)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def recover(out: Path) -> None:
    """Finish, or undo, what a kill interrupted while files were moved. Only for the holder of the folder's lock."""
    if (out / _READY).is_dir():
        _move(out / _READY, out)
    elif (out / _OLD).is_dir():
        _move(out / _OLD, out)
    _forget(out)


def interrupted(out: Path) -> bool:
    """Whether a kill came while files were moved into place."""
    return (out / _READY).is_dir() or (out / _OLD).is_dir()


def _commit(out: Path, staging: Path) -> None:
    """Record the hashes, decide, move."""
    names = sorted(path.name for path in staging.iterdir())
    if not names:
        return
    hashes.write(staging, {**_kept(out), **{name: hashes.sha256_of_file(staging / name) for name in names}})
    names.append(hashes.NAME)
    _keep_old(out, names)
    try:
        os.rename(staging, out / _READY)
        sync_folder(out)
        _move(out / _READY, out)
    except BaseException:
        _restore(out, names)
        raise
    _forget(out)


def _kept(out: Path) -> dict[str, str]:
    """The record of results that stay, such as those of another job; a damaged record is begun anew."""
    try:
        return {name: digest for name, digest in hashes.read(out).items() if (out / name).exists()}
    except ValueError:
        return {}


def _keep_old(out: Path, names: list[str]) -> None:
    """A second name for each file that will be replaced; a copy where the file system has no hard links."""
    old = out / _OLD
    shutil.rmtree(old, ignore_errors=True)
    os.mkdir(old)
    try:
        for name in filter(lambda name: (out / name).exists(), names):
            try:
                os.link(out / name, old / name)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                write_bytes(old / name, (out / name).read_bytes())
    except BaseException:
        shutil.rmtree(old, ignore_errors=True)
        raise


def _move(source: Path, out: Path) -> None:
    """Every file to its place, the record last; a second call goes on where a killed one stopped."""
    shown = (path for path in source.iterdir() if not path.name.startswith("."))
    for path in sorted(shown, key=lambda path: (path.name == hashes.NAME, path.name)):
        os.replace(path, out / path.name)
    sync_folder(out)


def _restore(out: Path, names: list[str]) -> None:
    """Put the old files back. The new ones are given up first: a kill from here on leads back as well."""
    if (out / _READY).exists():
        try:
            os.rename(out / _READY, out / _NEXT)
        except OSError:
            return  # the disk refuses this too: the next visitor goes forward
    with suppress(OSError):
        for name in names:
            if not (out / _OLD / name).exists():
                (out / name).unlink(missing_ok=True)
        _move(out / _OLD, out)
        _forget(out)


def _forget(out: Path) -> None:
    """The old files first: while the new ones' folder stands, a kill leads forward."""
    for name in (_OLD, _READY):
        shutil.rmtree(out / name, ignore_errors=True)
