"""Random numbers addressed by (seed, purpose, stream, block): the same bits whatever ran before, in any order.

Training reads them in blocks of ``BLOCK`` steps, so a run resumed at any step sees exactly the numbers an
uninterrupted run would have seen.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BLOCK = 64


class Purpose(IntEnum):
    """What a stream is for; streams of different purpose never overlap."""

    INITIAL = 0
    BATCH = 1
    NOISE = 2
    FLIP = 3
    STATIC = 4
    SPLIT = 5
    PROBE = 6
    PLANE = 7


def generator(seed: int, purpose: Purpose, *, stream: int = 0, block: int = 0) -> np.random.Generator:
    """A Philox generator at the address (seed, purpose, stream, block)."""
    return np.random.Generator(np.random.Philox(key=[seed, int(purpose)], counter=[0, 0, block, stream]))


@dataclass(frozen=True)
class BatchSampler:
    """Which examples each step sees.

    ``size`` examples of ``n``: with replacement, or in shuffled epochs of ``n // size`` steps.
    """

    n: int
    size: int
    epochs: bool

    def indices(self, seed: int, stream: int, block: int) -> NDArray[np.int64]:
        """Indices ``(BLOCK, size)`` of the steps of one block."""
        if not self.epochs:
            return generator(seed, Purpose.BATCH, stream=stream, block=block).integers(self.n, size=(BLOCK, self.size))
        return np.stack([self._in_epoch(seed, stream, step) for step in range(block * BLOCK, (block + 1) * BLOCK)])

    def _in_epoch(self, seed: int, stream: int, step: int) -> NDArray[np.int64]:
        epoch, position = divmod(step, self.n // self.size)
        return _permutation(seed, stream, epoch, self.n)[position * self.size : (position + 1) * self.size]


@lru_cache(maxsize=64)
def _permutation(seed: int, stream: int, epoch: int, n: int) -> NDArray[np.int64]:
    """The order of one epoch."""
    return generator(seed, Purpose.BATCH, stream=stream, block=epoch).permutation(n)


def normals(seed: int, stream: int, block: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Unit normals ``(BLOCK, *shape)`` of the label noise of one block."""
    return generator(seed, Purpose.NOISE, stream=stream, block=block).standard_normal((BLOCK, *shape))


def flips(
    seed: int, stream: int, block: int, shape: tuple[int, ...], classes: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Uniforms and class offsets 1 … classes−1, both ``(BLOCK, *shape)``: a label flips where its uniform is small."""
    source = generator(seed, Purpose.FLIP, stream=stream, block=block)
    return source.random((BLOCK, *shape)), source.integers(1, max(classes, 2), size=(BLOCK, *shape))
