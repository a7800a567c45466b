"""Every system call of every write fails, or is the last of a killed process: results are the old ones or the new."""

import errno
import os
import shutil
import signal
import time

import pytest

from numerics import hashes, journal, lock
from numerics.errors import InputError
from numerics.files import append_line, write_bytes
from numerics.folder import result_folder
from numerics.run.check import verify
from tests.sweep.faults import Layer, contents, cut_short, failing, forked, in_child, killed_after, killed_before

FAULTS = {
    "ENOSPC": failing(errno.ENOSPC),
    "EIO": failing(errno.EIO),
    "short write": cut_short(errno.ENOSPC),
}
each_fault = pytest.mark.parametrize("act", FAULTS.values(), ids=FAULTS)
each_kill = pytest.mark.parametrize("act", [killed_before, killed_after])


def save_result(folder, version):
    """Three files of one run; the second run leaves one of the first out and adds one."""
    with result_folder(folder) as work:
        for name in ("a.nc", "b.png", "summary.json", f"only-{version}.txt"):
            write_bytes(work.staging / name, f"{version} {name}".encode() * 50)


def calls_of(monkeypatch, action):
    with monkeypatch.context() as patch:
        layer = Layer(patch)
        action()
    return layer.names


def error_of(action):
    """The error that a user would see in one line, or None."""
    try:
        action()
    except (OSError, InputError) as error:
        return error
    return None


def old_and_new(tmp_path):
    """The contents before and after the second run."""
    save_result(tmp_path / "old", "old")
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    save_result(tmp_path / "new", "new")
    return contents(tmp_path / "old"), contents(tmp_path / "new")


@each_fault
def test_a_result_of_many_files_survives_every_failing_call(tmp_path, monkeypatch, act):
    old, new = old_and_new(tmp_path)
    save_result(tmp_path / "counted", "old")
    names = calls_of(monkeypatch, lambda: save_result(tmp_path / "counted", "new"))
    assert {"open", "write", "fsync", "replace", "rename", "link", "mkdir"} <= set(names)
    for k in range(len(names)):
        folder = tmp_path / f"{k}"
        shutil.copytree(tmp_path / "old", folder)
        with monkeypatch.context() as patch:
            Layer(patch, k, act)
            error = error_of(lambda folder=folder: save_result(folder, "new"))
        harmless = names[k] == "mkdir" or act is FAULTS["short write"]  # the folder is there already; the rest follows
        assert error is not None or harmless, (k, names[k])
        assert "\n" not in str(error)
        assert contents(folder) == (new if error is None else old), (k, names[k])
        assert verify(folder)[1] == {}, (k, names[k])
        with result_folder(folder):
            pass
        assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]


@each_kill
def test_a_result_of_many_files_survives_a_kill_at_every_call(tmp_path, monkeypatch, act):
    old, new = old_and_new(tmp_path)
    save_result(tmp_path / "counted", "old")
    names = calls_of(monkeypatch, lambda: save_result(tmp_path / "counted", "new"))
    seen = set()
    for k in range(len(names)):
        folder = tmp_path / f"{k}"
        shutil.copytree(tmp_path / "old", folder)
        with monkeypatch.context() as patch:
            Layer(patch, k, act)
            assert in_child(lambda folder=folder: save_result(folder, "new")) == 9
        with result_folder(folder):
            pass
        found = contents(folder)
        whole = {name: data for name, data in found.items() if name in old} == old or found == new
        assert whole, (k, names[k])
        assert verify(folder)[1] == {}, (k, names[k])
        seen.add(found == new)
    assert seen == {False, True}


@each_fault
def test_one_file_survives_every_failing_call(tmp_path, monkeypatch, act):
    target = tmp_path / "a"
    names = calls_of(monkeypatch, lambda: write_bytes(target, b"old" * 100))
    for k in range(len(names)):
        write_bytes(target, b"old" * 100)
        with monkeypatch.context() as patch:
            Layer(patch, k, act)
            error = error_of(lambda: write_bytes(target, b"new" * 100))
        renamed = error is None or "replace" in names[:k]  # after it only the folder's own fsync can fail
        assert target.read_bytes() == (b"new" if renamed else b"old") * 100
        assert [path.name for path in tmp_path.iterdir()] == ["a"]


@each_fault
def test_the_journal_survives_every_failing_call(tmp_path, monkeypatch, act):
    def book(folder):
        folder.mkdir()
        return journal.resume(folder, {"sweep": 1})

    names = calls_of(monkeypatch, lambda: book(tmp_path / "counted").save("k", '{"x":1}', 0.1, False))
    for k in range(len(names)):
        folder = tmp_path / f"{k}"
        with monkeypatch.context() as patch:
            Layer(patch, k, act)
            error_of(lambda folder=folder: book(folder).save("k", '{"x":1}', 0.1, False))
        folder.mkdir(exist_ok=True)
        found = journal.read(folder)
        assert found.problems == {}, (k, names[k])
        again = journal.resume(folder, {"sweep": 1})
        again.save("k", '{"x":1}', 0.1, False)
        assert journal.read(folder).entries.keys() == {"k"}


@each_kill
def test_the_journal_survives_a_kill_at_every_call(tmp_path, monkeypatch, act):
    def work(folder):
        book = journal.resume(folder, {"sweep": 1})
        for i in range(2):
            book.save(f"k{i}", f'{{"x":{i}}}', 0.1, False)

    (tmp_path / "counted").mkdir()
    names = calls_of(monkeypatch, lambda: work(tmp_path / "counted"))
    for k in range(len(names)):
        folder = tmp_path / f"{k}"
        folder.mkdir()
        with monkeypatch.context() as patch:
            Layer(patch, k, act)
            assert in_child(lambda folder=folder: work(folder)) == 9
        work(folder)
        found = journal.read(folder)
        assert (found.problems, [*found.entries]) == ({}, ["k0", "k1"]), (k, names[k])
        assert sorted(path.name for path in (folder / "shards").iterdir()) == ["k0.json", "k1.json"]


def test_a_torn_last_line_is_named_and_dropped(tmp_path):
    book = journal.resume(tmp_path, {"sweep": 1})
    book.save("k", "{}", 0.1, False)
    whole = book.path.read_bytes()
    for cut in range(1, len(whole) - len(whole.split(b"\n")[0]) - 1):
        book.path.write_bytes(whole[:-cut])
        assert list(journal.read(tmp_path).problems) == ["journal"]
        assert journal.read(tmp_path).entries == {}
    journal.resume(tmp_path, {"sweep": 1})
    assert journal.read(tmp_path).problems == {}


def test_a_failed_append_takes_back_what_was_written(tmp_path, monkeypatch):
    append_line(tmp_path / "a", b"one")
    with monkeypatch.context() as patch:
        Layer(patch, 2, failing(errno.EIO))  # open, write, fsync
        with pytest.raises(OSError, match="Input/output error"):
            append_line(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"one\n"


def test_the_second_run_in_a_folder_is_refused_and_a_dead_ones_lock_is_not_in_the_way(tmp_path):
    read, write = os.pipe()

    def hold():
        with lock.locked(tmp_path):
            os.write(write, b"x")
            time.sleep(60)

    child = forked(hold)
    os.read(read, 1)
    refusal = rf"is in use by process {child} on .*; wait, or choose another folder"
    with pytest.raises(InputError, match=refusal), result_folder(tmp_path):
        pass
    assert lock.holder(tmp_path).startswith(f"process {child} on ")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert (tmp_path / lock.NAME).exists()
    with result_folder(tmp_path):
        assert lock.holder(tmp_path).startswith(f"process {os.getpid()} on ")
    assert list(tmp_path.iterdir()) == []


def test_a_flip_in_every_byte_of_a_record_of_hashes_is_found(tmp_path):
    save_result(tmp_path, "old")
    path = tmp_path / hashes.NAME
    whole = path.read_bytes()
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ (1 << i % 8)]) + whole[i + 1 :])
        assert verify(tmp_path)[1], i
    path.write_bytes(whole)
    assert verify(tmp_path)[1] == {}
