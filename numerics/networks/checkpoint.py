"""Arrays and settings in one file that proves itself: a JSON line with a SHA-256, then a npz. Nothing is unpickled."""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics.errors import InputError
from numerics.files import write_bytes

FORMAT = "latedecay-checkpoint-2"
SUFFIX = ".ckpt"


def save(path: Path, arrays: dict[str, NDArray[Any]], settings: dict[str, Any]) -> None:
    """Write ``arrays`` and JSON-able ``settings`` to ``path`` atomically: a kill leaves the old file or the new one."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    header = {"format": FORMAT, "sha256": _digest(settings, buffer.getbuffer()), "settings": settings}
    write_bytes(path, b"".join([json.dumps(header, sort_keys=True).encode(), b"\n", buffer.getbuffer()]))


def load(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays and settings of a file written by ``save``.

    Raises InputError naming the file when it is missing, foreign, or its SHA-256 is not the recorded one.
    """
    if not path.exists():
        raise InputError("checkpoint", path, "does not exist", "run the training that writes it")
    line, _, payload = path.read_bytes().partition(b"\n")
    header = _header(path, line)
    found = _digest(header["settings"], payload)
    if found != header["sha256"]:
        rule = f"is damaged: its SHA-256 is {found[:16]}…, recorded as {header['sha256'][:16]}…"
        raise InputError("checkpoint", path, rule, "delete it and rerun; the run resumes from the one before")
    try:
        with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}, header["settings"]
    except (ValueError, zipfile.BadZipFile) as error:
        raise InputError("checkpoint", path, f"holds no plain arrays ({error})", "delete it and rerun") from error


def _digest(settings: dict[str, Any], payload: bytes | memoryview) -> str:
    """SHA-256 of the settings and the arrays."""
    found = hashlib.sha256(json.dumps(settings, sort_keys=True).encode() + b"\n")
    found.update(payload)
    return found.hexdigest()


def _header(path: Path, line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT or not {"sha256", "settings"} <= header.keys():
        raise InputError("checkpoint", path, "is not a checkpoint of this package", "delete it and rerun")
    return header


def step_file(folder: Path, stem: str, step: int) -> Path:
    """The file of ``stem`` at ``step``; names sort in step order."""
    return folder / f"{stem}-{step:09d}{SUFFIX}"


def steps_saved(folder: Path, stem: str) -> list[int]:
    """The steps of ``stem`` that have a file, in order."""
    names = [path.name.removeprefix(f"{stem}-").removesuffix(SUFFIX) for path in folder.glob(f"{stem}-*{SUFFIX}")]
    return sorted(int(name) for name in names if name.isdigit())
