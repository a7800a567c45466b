"""Checkpoints: what goes in comes out; anything damaged, foreign or pickled is refused by name."""

import io
import json
import pickle

import numpy as np
import pytest

from numerics.errors import InputError
from numerics.networks import checkpoint


@pytest.fixture
def saved(tmp_path):
    path = checkpoint.step_file(tmp_path, "trunk", 1200)
    arrays = {"theta": np.arange(6, dtype=np.float32).reshape(2, 3), "loss": np.array([np.nan, 1.5])}
    checkpoint.save(path, arrays, {"step": 1200, "mark": "abc"})
    return path, arrays


def test_arrays_and_settings_come_back_bit_for_bit(saved):
    path, arrays = saved
    found, settings = checkpoint.load(path)
    assert settings == {"step": 1200, "mark": "abc"}
    for name, values in arrays.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize("place", [200, -1, -40])
def test_one_changed_byte_is_refused_with_file_and_checksum(saved, place):
    path, _ = saved
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"trunk-000001200.ckpt is damaged: its SHA-256 is [0-9a-f]{16}…, recorded as"):
        checkpoint.load(path)


def test_a_flip_in_every_byte_is_refused(saved):
    path, _ = saved
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :])
        with pytest.raises(InputError, match=r"trunk-000001200.ckpt is (damaged|not a checkpoint)"):
            checkpoint.load(path)


def test_a_truncated_file_is_refused(saved):
    path, _ = saved
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="is damaged"):
        checkpoint.load(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"[1]\nrest", json.dumps({"format": "other"}).encode() + b"\n"])
def test_a_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a checkpoint of this package"):
        checkpoint.load(path)


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle ran')",))


@pytest.mark.parametrize("kind", ["pickle", "object array"])
def test_a_pickle_with_a_right_checksum_is_never_run(tmp_path, kind):
    payload = pickle.dumps(Bomb())
    if kind == "object array":
        buffer = io.BytesIO()
        np.savez(buffer, theta=np.array([Bomb()], dtype=object))
        payload = buffer.getvalue()
    header = {"format": checkpoint.FORMAT, "sha256": checkpoint._digest({}, payload), "settings": {}}
    path = tmp_path / "x.ckpt"
    path.write_bytes(json.dumps(header).encode() + b"\n" + payload)
    with pytest.raises(InputError, match="holds no plain arrays"):
        checkpoint.load(path)


def test_object_arrays_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle=False"):
        checkpoint.save(tmp_path / "x.ckpt", {"a": np.array([object()])}, {})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.ckpt does not exist"):
        checkpoint.load(tmp_path / "gone.ckpt")


def test_saved_steps_are_listed_in_order(tmp_path):
    for step in (20, 3, 100):
        checkpoint.save(checkpoint.step_file(tmp_path, "trunk", step), {"a": np.zeros(1)}, {})
    (tmp_path / "trunk-x.ckpt").touch()
    assert checkpoint.steps_saved(tmp_path, "trunk") == [3, 20, 100]
    assert checkpoint.steps_saved(tmp_path, "branch") == []
