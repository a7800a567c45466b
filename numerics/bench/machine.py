"""Limits of this machine, measured by small probes: arithmetic, bandwidth, and the drawing of random numbers."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import njit

from numerics import streams


def best_rate(work: Callable[[], Any], amount: float, seconds: float = 0.3) -> float:
    """Amount per second of the fastest call in about the given time, on one core."""
    work()
    best, end = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begin)
    return amount / float(best)


def peak_flops(precision: str) -> float:
    """Multiplications and additions per second of a matrix product, all cores."""
    a = np.ones((1024, 1024), precision)
    return best_rate(lambda: a @ a, 2.0 * 1024**3)


def bandwidth(size: int) -> float:
    """Bytes per second read and written while every core copies an array of this many bytes."""
    cores = os.cpu_count() or 1
    pairs = [(np.ones(size // 8), np.empty(size // 8)) for _ in range(cores)]
    times = max(1, (1 << 26) // size)

    def copy(pair: tuple[Any, Any]) -> None:
        for _ in range(times):
            np.copyto(pair[1], pair[0])

    with ThreadPoolExecutor(cores) as pool:
        return best_rate(lambda: list(pool.map(copy, pairs)), 2.0 * size * times * cores)


@njit(cache=True, nogil=True, error_model="numpy")
def _draw(key, replicas, fills, words, normals):  # type: ignore[no-untyped-def]
    total, columns = 0.0, streams.side_by_side(replicas, 8)
    for i in range(fills):
        streams.fill_lanes(key, 0, columns, i * 8, words, normals)
        total += normals[0, 0]
    return total


def draw_seconds(precision: str) -> float:
    """Seconds to draw one (normal, row word) pair with the kernels' generator, on one core."""
    lanes, fills = 16, 2000
    words = np.empty((4, 8 * lanes), np.uint64)
    normals = np.empty((2, 8 * lanes), precision)
    key = np.array(streams.key(0), np.uint64)
    rate = best_rate(lambda: _draw(key, np.arange(lanes), fills, words, normals), 2.0 * 8 * lanes * fills)
    return 1 / rate


def probes(precision: str) -> dict[str, float]:
    """All of them: flop/s, bytes/s in the second-level cache and in memory, seconds per draw, cores."""
    return {
        "cores": float(os.cpu_count() or 1),
        "flops": peak_flops(precision),
        "cache_bandwidth": bandwidth(1 << 18),
        "memory_bandwidth": bandwidth(1 << 26),
        "draw_seconds": draw_seconds(precision),
    }
