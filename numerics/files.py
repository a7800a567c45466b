"""Every write: to a temporary sibling, flushed to disk, renamed over the target. A kill leaves the old file or the new.

xarray and matplotlib are imported only by the functions that need them.
"""

import errno
import json
import math
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from numerics.errors import InputError

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure


def prepare_folder(path: str | os.PathLike[str]) -> Path:
    """Make the folder, parents too, and prove that a file can be written there; it is left as it was found.

    Raises InputError where it cannot be made or written.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = _sibling(folder / "probe")
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        reason = f"cannot be written ({error.strerror or error})"
        raise InputError("out", path, reason, "choose a folder you may write to") from None
    return folder


def write_bytes(path: str | os.PathLike[str], data: bytes | memoryview) -> Path:
    """Replace ``path`` by ``data``, all or nothing. Raises OSError, and then leaves no temporary behind."""
    target = Path(path)
    temporary = _sibling(target)
    try:
        _write_new(temporary, data)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(target.parent)
    return target


def append_line(path: str | os.PathLike[str], line: bytes) -> None:
    """Add ``line`` and a line feed to the end of a file, on disk when this returns; a kill may leave a torn last line.

    Raises OSError, and then takes back what was written of the line.
    """
    new = not os.path.exists(path)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        length = os.fstat(handle).st_size
        try:
            _write_all(handle, line + b"\n")
            os.fsync(handle)
        except BaseException:
            with suppress(OSError):
                os.ftruncate(handle, length)
            raise
    finally:
        os.close(handle)
    if new:
        sync_folder(Path(path).parent)


def sync_folder(folder: Path) -> None:
    """Make renames in the folder survive a power cut. Where the file system knows no such thing nothing can be done.

    Raises OSError where the disk fails.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EISDIR):
            raise


def remove_temporaries(folder: Path) -> None:
    """Delete what killed writers left behind. Only for a folder that no other process is writing to."""
    for path in folder.glob(".*.part"):
        with suppress(OSError):
            os.unlink(path)


def _write_new(path: Path, data: bytes | memoryview) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        _write_all(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_all(handle: int, data: bytes | memoryview) -> None:
    """A system call may take less than it was given."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def write_json(path: str | os.PathLike[str], content: object) -> Path:
    """Strict JSON, keys in the order given: numpy values become numbers and lists; NaN and infinities become null.

    Raises TypeError for anything that is not a number, text, list, mapping, path or None.
    """
    text = json.dumps(_plain(content), allow_nan=False, ensure_ascii=False, indent=1)
    return write_bytes(path, (text + "\n").encode())


def write_netcdf(path: str | os.PathLike[str], dataset: "xarray.Dataset") -> Path:
    """The dataset as netCDF-4 through h5netcdf; equal datasets give equal bytes."""
    return write_bytes(path, dataset.to_netcdf(engine="h5netcdf"))


def write_figure(path_stem: str | os.PathLike[str], figure: "Figure") -> tuple[Path, Path, Path]:
    """``path_stem`` + .svg, .pdf and .png of the figure, without time stamps: equal figures give equal bytes."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "latedecay"}):
        pictures = {kind: _rendered(figure, kind, stamp) for kind, stamp in _STAMPS.items()}
    svg, pdf, png = (write_bytes(f"{os.fspath(path_stem)}.{kind}", data) for kind, data in pictures.items())
    return svg, pdf, png


# What each format would stamp with the time or the library's version, set to nothing.
_STAMPS = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}


def _rendered(figure: "Figure", kind: str, stamp: Mapping[str, None]) -> bytes:
    stream = BytesIO()
    figure.savefig(stream, format=kind, metadata=dict(stamp), dpi=160)
    return stream.getvalue()


def _sibling(target: Path) -> Path:
    """A hidden name beside the target that no other process uses."""
    return target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.part")


def _plain(value: object) -> Any:
    """What the json module can write."""
    if isinstance(value, Mapping):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} has no place in a JSON file")


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a key of a JSON object is text, not {type(key).__name__}")
    return key
