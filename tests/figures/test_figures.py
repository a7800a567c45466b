"""Every figure draws from its data, says what it shows, and comes out the same twice."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray

from numerics.plotting import style
from paper_figs import record
from paper_figs.catalogue import FIGURES, chosen, load
from paper_figs.cli import main, make
from theory.claims import CLAIMS
from theory.claims import FIGURES as CLAIMED

QUICK = ("fig_sde", "fig_landscape", "fig_phases")
ROOT = Path(__file__).parents[2]


def test_every_claim_with_a_figure_has_a_module_that_names_it() -> None:
    assert set(CLAIMED) <= set(FIGURES)
    for claim in CLAIMS:
        if claim.figure:
            assert claim.number in load(claim.figure).CLAIMS


@pytest.mark.parametrize("stem", FIGURES)
def test_every_module_has_alt_text_and_offers_data_draw_and_caption(stem: str) -> None:
    module = load(stem)
    assert len(module.ALT) > 80
    assert module.data.__doc__
    assert module.draw.__doc__
    assert module.caption.__doc__


@pytest.fixture(scope="module")
def quick() -> dict[str, xarray.Dataset]:
    return {stem: load(stem).data(True, 0) for stem in QUICK}


@pytest.mark.parametrize("stem", QUICK)
def test_data_have_units_and_long_names_and_equal_hashes_twice(stem: str, quick: dict[str, xarray.Dataset]) -> None:
    data = quick[stem]
    assert all("long_name" in data[name].attrs and "units" in data[name].attrs for name in data.data_vars)
    assert record.digest(data) == record.digest(load(stem).data(True, 0))


@pytest.mark.parametrize("stem", QUICK)
def test_no_comparison_fails_and_the_caption_has_their_number(stem: str, quick: dict[str, xarray.Dataset]) -> None:
    verdicts = [check["verdict"] for check in record.checks(quick[stem])]
    assert "fail" not in verdicts
    assert f"{verdicts.count('pass')} of {len(verdicts)} comparisons pass" in load(stem).caption(quick[stem])


@pytest.mark.parametrize("stem", [s for s in FIGURES if (ROOT / "docs/figures" / f"{s}.nc").exists()])
def test_the_published_data_draw_without_overlapping_titles(stem: str) -> None:
    data = xarray.load_dataset(ROOT / "docs/figures" / f"{stem}.nc", engine="h5netcdf")
    with style():
        figure = load(stem).draw(data)
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
        titles = [
            t.get_window_extent(renderer) for ax in figure.axes for t in (ax.title, ax._left_title) if t.get_text()
        ]
    overlaps = [(a, b) for i, a in enumerate(titles) for b in titles[i + 1 :] if a.overlaps(b)]
    assert not overlaps
    assert max(box.x1 for box in titles) <= figure.bbox.x1 + 1


@pytest.mark.parametrize("stem", [s for s in FIGURES if (ROOT / "docs/figures" / f"{s}.json").exists()])
def test_the_published_caption_and_hash_are_those_of_the_published_data(stem: str) -> None:
    data = xarray.load_dataset(ROOT / "docs/figures" / f"{stem}.nc", engine="h5netcdf")
    published = json.loads((ROOT / "docs/figures" / f"{stem}.json").read_text())
    assert load(stem).caption(data) == published["caption"]
    assert record.digest(data) == published["sha256"]
    assert not published["small"]


def test_the_hash_sees_a_single_changed_bit(quick: dict[str, xarray.Dataset]) -> None:
    data = quick["fig_sde"].copy(deep=True)
    before = record.digest(data)
    data["weak_error"].values[0, 0] = np.nextafter(data["weak_error"].values[0, 0], 1.0)
    assert record.digest(data) != before


def test_a_figure_is_written_in_all_formats_with_data_caption_and_what_verify_asserts(tmp_path: Path) -> None:
    made = make("fig_sde", tmp_path, True, 0)
    written = json.loads((tmp_path / "fig_sde.json").read_text())
    assert written["sha256"] == made.digest
    assert any(line.startswith("verify C14:") and "pass" in line for line in written["asserted"])
    assert all((tmp_path / f"fig_sde.{kind}").stat().st_size > 1000 for kind in ("svg", "pdf", "png", "nc"))


def test_an_unknown_name_is_one_clear_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["stabilty"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: figure = fig_stabilty is unknown; did you mean fig_stability?\n"


def test_a_folder_that_cannot_be_written_is_one_clear_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as stop:
        main(["sde", "--small", "--out", str(tmp_path / "file" / "below")])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_lists_figures_without_computing(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--list"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(FIGURES)
    assert chosen(["sde", "fig_sde"]) == ["fig_sde"]


def test_the_module_runs_as_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "paper_figs", "--list"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "fig_story" in done.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_the_command_and_its_processes_within_seconds(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    command = [sys.executable, "-m", "paper_figs", "--small", "--jobs", "2", "--out", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    children, end = Path(f"/proc/{process.pid}/task/{process.pid}/children"), time.monotonic() + 60
    while len(children.read_text().split()) < 3 and time.monotonic() < end:  # two workers and what tracks them
        time.sleep(0.05)
    process.send_signal(number)
    said = process.communicate(timeout=5)[0]  # ends when nobody holds the pipe any more
    assert process.returncode == code
    assert said.endswith("interrupted: nothing half-written is left behind\n")
