"""What every job has around it: a locked folder, all files or none, memory refused before it is allocated.

    with session(out, needs=bytes, remedy="lower --replicas") as folder:
        ...                                   # compute
        write_json(folder.staging / "summary.json", {..., "provenance": provenance(...)})

Files written to ``folder.staging`` become the result when the block ends, together, and their hashes are recorded for
`check`. What the job resumes from lies in ``folder.out``.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from numerics.folder import ResultFolder, result_folder
from numerics.memory import require, resident


@contextmanager
def session(out: str | os.PathLike[str], *, needs: int | None = None, remedy: str = "") -> Iterator[ResultFolder]:
    """The folder of a run. ``needs``: predicted peak in bytes; ``remedy``: which option lowers it.

    Raises InputError where memory would not suffice, the folder cannot be written, or another process writes to it.
    """
    if needs is not None:
        print(require(needs, remedy, held=resident()))
    with result_folder(out) as folder:
        yield folder
