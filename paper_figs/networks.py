"""What the figures of real networks share.

One late-decay experiment on digits, trained in a folder that is thrown away.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from numerics.errors import InputError

if TYPE_CHECKING:
    from numerics.networks.late_decay import Experiment


def silent(_: str) -> None:
    """The figures' own progress is a line per figure."""


@contextmanager
def trained(kinds: tuple[str, ...], *, small: bool, seeds: int, seed: int) -> "Iterator[tuple[Experiment, Path]]":
    """The digits experiment with these kinds of label noise, trained, and the folder it lies in.

    One torch thread: fixed bits.
    """
    try:
        import torch
    except ModuleNotFoundError:
        raise InputError(
            "torch", "missing", "is needed for figures of networks", "pip install 'latedecay[torch]'"
        ) from None

    from numerics.networks import late_decay
    from numerics.networks.configurations import made_small, named

    torch.set_num_threads(1)
    chosen = named("digits")
    chosen = replace(made_small(chosen), last_decay=2000, branch_steps=100) if small else replace(chosen, seeds=seeds)
    with TemporaryDirectory() as name:
        folder = Path(name)
        experiment = late_decay.prepare(
            chosen, kinds, out=folder, seed=seed, data_folder=None, keep_momentum=True, report=silent
        )
        late_decay.train(experiment)
        yield experiment, folder
