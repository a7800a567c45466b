"""A layer under the package's writes: the k-th system call fails, is cut short, or never returns."""

import os
import signal
import warnings
from collections.abc import Callable
from pathlib import Path

CALLS = ("open", "write", "fsync", "replace", "rename", "link", "mkdir", "ftruncate")


class Layer:
    """Counts the system calls that change something on disk, and does something at the one numbered ``at``."""

    def __init__(self, monkeypatch, at: int | None = None, act: Callable = lambda real, *given, **named: None):
        self.count, self.at, self.act, self.names = 0, at, act, []
        for name in CALLS:
            monkeypatch.setattr(os, name, self._wrapped(name, getattr(os, name)))

    def _wrapped(self, name, real):
        def call(*given, **named):
            if name == "open" and len(given) > 1 and not given[1] & (os.O_WRONLY | os.O_RDWR):
                return real(*given, **named)
            self.names.append(name)
            self.count += 1
            if self.count - 1 == self.at:
                return self.act(real, *given, **named)
            return real(*given, **named)

        return call


def failing(code: int) -> Callable:
    """The call fails with this error number."""

    def act(real, *given, **named):
        raise OSError(code, os.strerror(code))

    return act


def cut_short(code: int) -> Callable:
    """A write takes half of what it is given; any other call, and an empty write, fails."""

    def act(real, *given, **named):
        if real.__name__ == "write" and len(given[1]) > 1:
            return real(given[0], given[1][: len(given[1]) // 2])
        raise OSError(code, os.strerror(code))

    return act


def killed_before(real, *given, **named):
    """The process dies and the call is never made."""
    os.kill(os.getpid(), signal.SIGKILL)


def killed_after(real, *given, **named):
    """The process dies when the call has been made."""
    try:
        real(*given, **named)
    finally:
        os.kill(os.getpid(), signal.SIGKILL)


def forked(action: Callable[[], object]) -> int:
    """Run the action in a child; its process number. It exits with 0, or 255 where the action raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python and JAX warn of forks beside threads: the child only writes files
        child = os.fork()
    if child:
        return child
    try:
        action()
        os._exit(0)
    except BaseException:
        os._exit(255)


def in_child(action: Callable[[], object]) -> int:
    """Run the action in a child; the number of the signal that ended it, or its exit code."""
    status = os.waitpid(forked(action), 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that is not hidden."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}
