"""SHA-256 of every file of a result, in the format of sha256sum, with a last line that vouches for the list itself."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from numerics.files import write_bytes

NAME = "SHA256SUMS"

_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_OWN = "# SHA-256 of the lines above: "


def canonical(content: object) -> str:
    """The one JSON text of some content, to be hashed. Raises ValueError for what is not finite."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256_of_bytes(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces. Raises OSError."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write(folder: Path, sums: Mapping[str, str]) -> Path:
    """Write the list: ``sums`` maps names relative to the folder to hashes."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    return write_bytes(folder / NAME, f"{lines}{_OWN}{sha256_of_bytes(lines.encode())}\n".encode())


def read(folder: Path) -> dict[str, str]:
    """The list of the folder; empty where there is none. Raises ValueError where the list itself is damaged."""
    try:
        data = (folder / NAME).read_bytes()
    except FileNotFoundError:
        return {}
    lines, mark, own = data.decode("utf-8", errors="replace").rpartition(_OWN)
    entries = [_LINE.fullmatch(line) for line in lines.splitlines()]
    vouched = own == f"{sha256_of_bytes(lines.encode())}\n"
    if not mark or not vouched or not all(entries) or lines.encode() != data[: len(lines.encode())]:
        raise ValueError(f"{NAME}: damaged")
    return {match[2]: match[1] for match in entries if match}


def damaged(folder: Path, sums: Mapping[str, str]) -> dict[str, str]:
    """Files that are not what the list says: name -> what is wrong."""
    wrong = {}
    for name, digest in sums.items():
        try:
            found = sha256_of_file(folder / name)
        except OSError as error:
            wrong[name] = "missing" if isinstance(error, FileNotFoundError) else f"unreadable ({error.strerror})"
            continue
        if found != digest:
            wrong[name] = f"damaged (SHA-256 {found[:12]}…, recorded {digest[:12]}…)"
    return wrong
