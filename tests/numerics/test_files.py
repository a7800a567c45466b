"""Writes are all or nothing, leave nothing behind, and give equal bytes for equal content."""

import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import xarray
from matplotlib.figure import Figure

from numerics import files
from numerics.errors import InputError


def picture():
    figure = Figure(figsize=(3, 2))
    axes = figure.add_subplot()
    axes.plot([0, 1, 2], [1, 0, 3], label=r"$\rho$")
    axes.fill_between([0, 1, 2], [0, 0, 1], [2, 1, 4], alpha=0.3)
    axes.legend()
    return figure


def curves():
    rho = xarray.DataArray(np.linspace(2, 0.1, 5), dims="step", attrs={"units": "1"})
    return xarray.Dataset({"rho": rho}, coords={"step": np.arange(5)}, attrs={"job": "phase2"})


WRITES = {
    "bytes": lambda folder: files.write_bytes(folder / "a.bin", b"new"),
    "json": lambda folder: files.write_json(folder / "a.json", {"a": 1}),
    "netcdf": lambda folder: files.write_netcdf(folder / "a.nc", curves()),
    "figure": lambda folder: files.write_figure(folder / "a", picture()),
}
each_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


@each_write
def test_a_write_leaves_its_target_and_nothing_else(tmp_path, write):
    written = write(tmp_path)
    paths = list(written) if isinstance(written, tuple) else [written]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert all(path.stat().st_size > 0 for path in paths)


@each_write
def test_equal_content_gives_equal_bytes(tmp_path, write):
    contents = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
        contents.append([path.read_bytes() for path in sorted((tmp_path / name).iterdir())])
    assert contents[0] == contents[1]


@each_write
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_keeps_the_old_file_and_no_temporary(tmp_path, monkeypatch, write, call):
    for name in ("a.bin", "a.json", "a.nc", "a.svg"):
        (tmp_path / name).write_bytes(b"old")
    before = sorted(tmp_path.iterdir())

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path)
    assert sorted(tmp_path.iterdir()) == before
    assert all(path.read_bytes() == b"old" for path in before)


def test_a_kill_between_write_and_rename_keeps_the_old_file(tmp_path):
    target = tmp_path / "summary.json"
    target.write_text("old")
    script = (
        "import os, signal, sys; from numerics import files\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.write_bytes(sys.argv[1], b'new')"
    )
    root = Path(files.__file__).parents[1]
    killed = subprocess.run([sys.executable, "-c", script, str(target)], cwd=root, check=False)
    assert killed.returncode == -9
    assert target.read_text() == "old"


def test_json_is_strict_and_takes_numpy_values(tmp_path):
    content = {
        "float": np.float64(0.1),
        "int": np.int64(3),
        "flag": np.bool_(True),
        "array": np.array([[1.0, np.nan], [np.inf, -2.0]]),
        "tuple": (1, None, "η"),
        "path": tmp_path,
        "nan": float("nan"),
    }
    text = files.write_json(tmp_path / "a.json", content).read_text(encoding="utf-8")

    def refuse(constant):
        raise AssertionError(constant)

    assert json.loads(text, parse_constant=refuse) == {
        "float": 0.1,
        "int": 3,
        "flag": True,
        "array": [[1.0, None], [None, -2.0]],
        "tuple": [1, None, "η"],
        "path": str(tmp_path),
        "nan": None,
    }
    assert list(json.loads(text)) == list(content)
    assert "η" in text


@pytest.mark.parametrize("content", [{"a": {1, 2}}, {1: "a"}, object(), {"z": 1j}])
def test_json_refuses_what_it_cannot_hold_and_writes_nothing(tmp_path, content):
    with pytest.raises(TypeError, match=r"has no place in a JSON file|a key of a JSON object is text"):
        files.write_json(tmp_path / "a.json", content)
    assert list(tmp_path.iterdir()) == []


def test_netcdf_reads_back_with_its_labels(tmp_path):
    with xarray.open_dataset(files.write_netcdf(tmp_path / "a.nc", curves()), engine="h5netcdf") as back:
        xarray.testing.assert_identical(back.load(), curves())


def test_a_figure_comes_in_three_formats_and_settings_stay(tmp_path):
    salt = matplotlib.rcParams["svg.hashsalt"]
    svg, pdf, png = files.write_figure(tmp_path / "phase2.v1", picture())
    assert [path.name for path in (svg, pdf, png)] == ["phase2.v1.svg", "phase2.v1.pdf", "phase2.v1.png"]
    assert svg.read_bytes().lstrip().startswith(b"<?xml")
    assert pdf.read_bytes().startswith(b"%PDF")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert matplotlib.rcParams["svg.hashsalt"] == salt


def test_files_get_the_permissions_any_new_file_gets(tmp_path):
    (tmp_path / "plain").touch()
    written = files.write_bytes(tmp_path / "a", b"1")
    assert written.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_is_made_with_its_parents_and_left_empty(tmp_path):
    folder = files.prepare_folder(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert list(folder.iterdir()) == []
    assert files.prepare_folder(folder) == folder


@pytest.mark.parametrize("path", ["taken", "taken/below", "x" * 300])
def test_a_folder_that_cannot_be_written_is_refused(tmp_path, path):
    (tmp_path / "taken").touch()
    with pytest.raises(InputError, match=r"^out = .* cannot be written \(.*\); choose a folder you may write to$"):
        files.prepare_folder(tmp_path / path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match=r"cannot be written \(Permission denied\)"):
        files.prepare_folder(tmp_path)


def test_importing_files_imports_neither_xarray_nor_matplotlib():
    script = "import sys, numerics.files, numerics.data; print({'xarray', 'matplotlib', 'sklearn'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(files.__file__).parents[1], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
