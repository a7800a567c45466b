"""Ctrl-C and SIGTERM: one exception that unwinds everything, and an end within seconds whatever happens."""

import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: seconds after a signal until the process leaves without unwinding; every write is all or nothing, so that it may
PATIENCE = 3.0
MESSAGE = "interrupted: nothing half-written is left behind"

_STOPS = (signal.SIGINT, signal.SIGTERM)
_UNWOUND = b"\0"


class Interrupted(BaseException):
    """Raised in the main thread by SIGINT or SIGTERM; ``code`` is the exit code, 128 + the signal's number.

    No KeyboardInterrupt: typer would turn that into an exit code and say nothing.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into Interrupted; a second one ends the process at once.

    Outside the main thread nothing can be installed, and nothing is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _interrupt) for number in _STOPS}
    try:
        with _watched():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, _: FrameType | None) -> None:
    for stop in _STOPS:
        signal.signal(stop, lambda *_: None)  # what comes now is the watching thread's
    raise Interrupted(number)


@contextmanager
def _watched() -> Iterator[None]:
    """A thread that hears of signals at once: while the main one is inside a library no handler of Python's runs."""
    ear, mouth = os.pipe()
    os.set_blocking(mouth, False)
    before = signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
    thread = threading.Thread(target=_watch, args=(ear,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.write(mouth, _UNWOUND)
        thread.join()
        os.close(ear)
        os.close(mouth)


def _watch(ear: int) -> None:
    """Wait for a signal, then for the end of the unwinding; leave where that takes too long, or at the next signal."""
    while (heard := os.read(ear, 1)) != _UNWOUND:
        if heard[0] in _STOPS:
            unwound = select.select([ear], [], [], PATIENCE)[0] and os.read(ear, 1) == _UNWOUND
            return None if unwound else _leave(128 + heard[0])


def _leave(code: int) -> None:
    os.write(2, f"{MESSAGE}\n".encode())
    os._exit(code)
