"""`device-check`: what a session with a card runs, part by part, so that a slow part takes no other with it."""

import json

import pytest

pytest.importorskip("torch")

from numerics.run import cli, device_check


def call(out, *arguments):
    with pytest.raises(SystemExit) as leaving:
        cli.main(["device-check", "--small", "--out", str(out), *arguments])
    return leaving.value.code


def test_one_part_alone_is_run_and_recorded(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(device_check, "_run", lambda arguments, seconds: (asked.append(arguments), (1, "why"))[1])
    assert call(tmp_path / "bench", "--only", "bench") == 0  # a bench measures; it judges nothing
    found = json.loads((tmp_path / "bench" / "check.json").read_text())
    assert {one["error"] for one in found["bench"]} == {"why"}
    assert not {"tests", "diagram"} & set(found)
    assert {arguments[1] for arguments in asked} == {"device-bench"}
    assert call(tmp_path / "tests", "--only", "tests") == 3
    assert (tmp_path / "tests" / "tests.txt").read_text() == "why"


def test_what_takes_too_long_leaves_its_output():
    words = ["timeit", "-n", "1", "-r", "1", "import time; print('begun', flush=True); time.sleep(60)"]
    code, text = device_check._run(words, 3)
    assert (code, text.split()[0]) == (124, "begun")
    assert text.endswith("took longer than 3 s")


def test_no_part_of_the_check_is_refused(tmp_path, capsys):
    assert call(tmp_path / "out", "--only", "speed") == 2
    assert capsys.readouterr().err == ("error: only = speed is no part of the check; give tests, bench, diagram\n")
    assert not (tmp_path / "out").exists()


def test_every_part_ends_within_ten_minutes():
    """By the limits of what it runs: eight benches, three diagrams."""
    assert max(device_check._TESTS, 8 * device_check._BENCH, 3 * device_check._DIAGRAMS) < 590
