"""Memory that a run will need against memory that is there: refused before it is allocated."""

import resource
from collections.abc import Iterator
from pathlib import Path

from numerics.errors import InputError

GIB = 2**30


def available(root: Path = Path("/")) -> int | None:
    """Bytes that this process may still take: what the system has free and what every enclosing cgroup leaves.

    None where neither can be read. ``root`` holds ``proc`` and ``sys``.
    """
    found = [value for value in (_system(root), *_groups(root)) if value is not None]
    return min(found) if found else None


def resident() -> int:
    """Bytes of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def require(need: int, remedy: str, *, held: int = 0, root: Path = Path("/")) -> str:
    """One line that says what is needed and what there is.

    ``need`` and ``held`` in bytes: the peak of the run, and what of it is in memory already. Raises InputError where it
    would not fit.
    """
    free = available(root)
    if free is None:
        return f"memory: about {size(need)}; how much is free cannot be read here"
    if need - held > free:
        raise InputError("memory", size(need), f"would be needed, and {size(free + held)} can be had", remedy)
    return f"memory: about {size(need)} of {size(free + held)}"


def size(count: int) -> str:
    """Bytes in words."""
    return f"{count / GIB:.2f} GiB" if count >= GIB / 10 else f"{count / 2**20:.0f} MiB"


def _system(root: Path) -> int | None:
    """MemAvailable of /proc/meminfo."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _groups(root: Path) -> Iterator[int | None]:
    """What each enclosing cgroup leaves, version 2 and 1; pages that only cache files count as free."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, kinds, path = line.split(":", 2)
        if number == "0" and not kinds:
            yield from _levels(root / "sys/fs/cgroup", path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in kinds.split(","):
            top = root / "sys/fs/cgroup/memory"
            yield from _levels(top, path, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _levels(top: Path, path: str, limit: str, used: str, cache: str) -> Iterator[int | None]:
    """From the top to the group itself; a container may see its own group as the top."""
    folder = top
    for part in ("", *path.strip("/").split("/")):
        folder = folder / part
        yield _left(folder, limit, used, cache)


def _left(folder: Path, limit: str, used: str, cache: str) -> int | None:
    try:
        most, now = (folder / limit).read_text().strip(), int((folder / used).read_text())
        pairs = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return None if most == "max" else max(int(most) - now + int(pairs.get(cache, 0)), 0)
