"""Unfinished work on disk, a shard at a time, and the journal that vouches for it.

Each shard has a line, which carries its own hash and the shard's. The first line, the header, says whose shards they
are: another run, or other versions, does not go on with them.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numerics.errors import InputError
from numerics.files import append_line, remove_temporaries, write_bytes
from numerics.hashes import canonical, sha256_of_bytes, sha256_of_file

NAME, FOLDER = "journal", "shards"
_LINE = re.compile(rb"([0-9a-f]{64}) (\{.*\})")


@dataclass
class Journal:
    """What a journal says: ``header`` of its run, ``entries`` by key; ``problems`` in words, by name of the file."""

    out: Path
    header: dict[str, Any] | None = None
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The file."""
        return self.out / NAME

    def shard_path(self, key: str) -> Path:
        """The shard's file."""
        return self.out / FOLDER / f"{key}.json"

    def save(self, key: str, shard: str, seconds: float, failed: bool) -> None:
        """Write a shard, then its line: what a line speaks of is on disk. Raises OSError."""
        data = shard.encode()
        write_bytes(self.shard_path(key), data)
        entry = {"shard": key, "sha256": sha256_of_bytes(data), "seconds": round(seconds, 3), "failed": failed}
        append_line(self.path, _line(entry))
        self.entries[key] = entry

    def shard(self, key: str) -> dict[str, Any]:
        """The shard's content. Raises InputError where it is not what the journal recorded."""
        path = self.shard_path(key)
        data = path.read_bytes()
        if sha256_of_bytes(data) != self.entries[key]["sha256"]:
            raise InputError("shard", path, "is damaged", "run the command again: it will be recomputed")
        return dict(json.loads(data))


def read(out: Path) -> Journal:
    """The journal of a folder, every line and every shard verified. Nothing is changed."""
    journal = Journal(out)
    lines = journal.path.read_bytes().split(b"\n") if journal.path.exists() else [b""]
    if lines[-1]:
        journal.problems[NAME] = f"line {len(lines)} is torn"
    for number, line in enumerate(lines[:-1], start=1):
        entry = _entry(line)
        if entry is None:
            journal.problems[f"{NAME} line {number}"] = "damaged"
        elif "shard" in entry:
            journal.entries[entry["shard"]] = entry
        elif number == 1:
            journal.header = entry
    for key, entry in list(journal.entries.items()):
        wrong = _wrong(journal.shard_path(key), entry["sha256"])
        if wrong:
            journal.problems[f"{FOLDER}/{key}.json"] = wrong
            del journal.entries[key]
    return journal


def resume(out: Path, header: dict[str, Any]) -> Journal:
    """The journal of the run with this header, begun or gone on with; what is damaged is dropped and named.

    Raises InputError where the folder holds the work of another run, or of other versions.
    """
    journal = read(out)
    if journal.header is not None and journal.header != header:
        raise _other(out, journal.header, header)
    (out / FOLDER).mkdir(exist_ok=True)
    remove_temporaries(out / FOLDER)
    if journal.problems or journal.header is None:
        journal.header = header
        lines = [_line(entry) for entry in (header, *journal.entries.values())]
        write_bytes(journal.path, b"".join(line + b"\n" for line in lines))
    return journal


def _line(entry: dict[str, Any]) -> bytes:
    text = canonical(entry)
    return f"{sha256_of_bytes(text.encode())} {text}".encode()


def _entry(line: bytes) -> dict[str, Any] | None:
    """The line's content; None where its hash does not vouch for it."""
    match = _LINE.fullmatch(line)
    if match is None or sha256_of_bytes(match[2]).encode() != match[1]:
        return None
    return dict(json.loads(match[2]))


def _wrong(path: Path, digest: str) -> str | None:
    try:
        found = sha256_of_file(path)
    except OSError as error:
        return "missing" if isinstance(error, FileNotFoundError) else f"unreadable ({error.strerror})"
    return None if found == digest else f"damaged (SHA-256 {found[:12]}…, recorded {digest[:12]}…)"


def _other(out: Path, found: dict[str, Any], wanted: dict[str, Any]) -> InputError:
    names = [name for name in wanted if found.get(name) != wanted[name]]
    rule = f"holds the work of a run that differs in {', '.join(names)}"
    return InputError("out", out, rule, "choose another folder, or delete this one")
