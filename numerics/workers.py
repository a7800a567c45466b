"""Pieces of work on the processes of this machine, in any order; a worker that dies costs no more than its piece."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from numerics.hashes import canonical
from numerics.journal import Journal

T = TypeVar("T")
R = TypeVar("R")

#: how often a piece may lose its worker before it is given up
LIVES = 3


def each(work: Callable[[T], R], items: Sequence[T], workers: int) -> Iterator[tuple[int, R | None]]:
    """(index, result) as they come; None where workers died on an item repeatedly. One worker is this process.

    ``work`` is a function of a module, so that processes find it. Raises what it raises.
    """
    if workers == 1:
        yield from ((i, work(item)) for i, item in enumerate(items))
    else:
        yield from _processes(work, items, workers)


def finish(
    book: Journal, items: Mapping[str, T], work: Callable[[T], dict[str, Any]], workers: int, report: Callable[..., Any]
) -> dict[str, dict[str, Any]]:
    """The result of each item by its key: what the journal holds is read, the rest computed and kept as it comes.

    ``report`` is told (done, of how many). Raises OSError where an item kills its worker again and again.
    """
    missing = [key for key in items if key not in book.entries]
    done = len(items) - len(missing)
    for i, result in each(_timed, [(work, items[key]) for key in missing], workers):
        if result is None:
            raise OSError("a worker died on the same work again and again (out of memory?)")
        content, seconds = result
        book.save(missing[i], canonical(content), seconds, False)
        done += 1
        report(done, len(items))
    return {key: book.shard(key) for key in items}


def _timed(pair: tuple[Callable[[T], R], T]) -> tuple[R, float]:
    begin = time.perf_counter()
    return pair[0](pair[1]), time.perf_counter() - begin


def _numbered(work: Callable[[T], R], i: int, item: T) -> tuple[int, R]:
    return i, work(item)


def _processes(work: Callable[[T], R], items: Sequence[T], workers: int) -> Iterator[tuple[int, R | None]]:
    """A dead worker breaks joblib's pool: a new one gets what is left, single items at last, to find the deadly one."""
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    left, died = dict(enumerate(items)), 0
    while left:
        pool = Parallel(n_jobs=workers if died < LIVES else 1, backend="loky", return_as="generator_unordered",
                        batch_size=1, pre_dispatch="2*n_jobs")  # fmt: skip
        suspects = dict(list(left.items())[:1]) if died >= LIVES else left
        try:
            for i, result in pool(delayed(_numbered)(work, i, item) for i, item in list(suspects.items())):
                del left[i]
                yield i, result
        except TerminatedWorkerError:
            died += 1
            if len(suspects) == 1 and died > LIVES:
                i = next(iter(suspects))
                del left[i]
                yield i, None
        except BaseException:
            get_reusable_executor().shutdown(wait=False, kill_workers=True)
            raise
