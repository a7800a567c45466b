"""One writer per folder: a lock that the kernel drops with its holder, so that a dead process never blocks."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from numerics.errors import InputError

NAME = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. The file names process and host and is gone afterwards; left by a kill it means nothing.

    Raises InputError, which names the holder, where another process has it.
    """
    path = folder / NAME
    handle = _acquired(path)
    try:
        os.ftruncate(handle, 0)
        os.write(handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode() + b"\n")
        yield
    finally:
        with suppress(OSError):
            os.unlink(path)  # while the lock is held: nobody else can hold a lock on this name's file
        os.close(handle)


def holder(folder: Path) -> str | None:
    """Who holds the folder's lock, in words; None where nobody does."""
    try:
        handle = os.open(folder / NAME, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _named(handle)
    finally:
        os.close(handle)
    return None


def _acquired(path: Path) -> int:
    """A handle with the lock on the file that bears the name: the former holder may have removed the one we opened."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(handle, path):
                return handle
        except BlockingIOError:
            holder = _named(handle)
            os.close(handle)
            raise InputError("out", path.parent, f"is in use by {holder}", "wait, or choose another folder") from None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _named(handle: int) -> str:
    try:
        content = json.loads(os.pread(handle, 4096, 0))
        return f"process {content['pid']} on {content['host']}"
    except (ValueError, KeyError, TypeError, OSError):
        return "another process"
