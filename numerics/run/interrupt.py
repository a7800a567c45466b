"""Ctrl-C and SIGTERM: one exception that unwinds everything, and an end within seconds whatever happens."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: seconds after a signal until the process leaves without unwinding; every write is all or nothing, so that it may
PATIENCE = 4.0
MESSAGE = "interrupted: nothing half-written is left behind"


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
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(code: int) -> None:
    os.write(2, f"{MESSAGE}\n".encode())
    os._exit(code)


def _interrupt(number: int, _: FrameType | None) -> None:
    error = Interrupted(number)
    signal.signal(number, lambda *_: os._exit(error.code))
    last_resort = threading.Timer(PATIENCE, _leave, (error.code,))
    last_resort.daemon = True
    last_resort.start()
    raise error
