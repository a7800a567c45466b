"""`python -m verify`: exit codes, one-line errors, repeatable rows, a user's own problem."""

import json
from pathlib import Path

import numpy as np
import pytest

from verify import cli
from verify.registry import find


def test_a_row_is_repeated_by_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["row", "C5:flattest point", "--case", '{"depth": 3.0}']) == 0
    assert "as it must be" in capsys.readouterr().out
    assert cli.main(["row", "C5:flattest point", "--control", "wrong depth"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--claims", "C99"], "claims = C99 is not a claim; choose C1 to C16"),
        (["row", "C4:nothing"], "row = C4:nothing is not an experiment"),
        (["row", "C4:drift", "--control", "none"], "control = none is not one of C4:drift"),
        (["--data", "nowhere.npz"], "data = nowhere.npz is not a file"),
        (["--data", "gaussian", "--eta", "-1"], "eta = -1 is not positive; give a number above 0"),
        (["--data", "gaussian", "--depth", "0.5"], "depth = 0.5 is below 1; give a depth of at least 1"),
        (["--data", "gaussian", "--batch", "0"], "batch = 0 is not a batch size; give at least 1"),
        (["power", "--only", "nothing"], "only = nothing is not a mutant"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1


def test_scorecard_and_report_of_some_claims(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--claims", "C5,C9", "--quick", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "C5     Selection threshold" in out
    assert "False alarms: at most 0.001 per run" in out
    report = json.loads((tmp_path / "report.json").read_text())
    assert {claim["claim"]: claim["verdict"] for claim in report["claims"]}["C9"] == "pass"
    assert all(row["command"].startswith("python -m verify row") for row in report["rows"])


@pytest.fixture
def my_data(tmp_path: Path) -> Path:
    draw = np.random.default_rng(3)
    X, teacher = draw.normal(size=(3, 9)), draw.normal(size=9)
    np.savez(tmp_path / "my.npz", X=X, y=X @ teacher)
    return tmp_path / "my.npz"


def test_own_problem_is_checked(my_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--data", str(my_data), "--batch", "2", "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "n = 3, d = 9" in out
    assert "C4     Radial reduction" in out


def test_own_problem_above_the_limit_is_outside_conditions(
    my_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.main(["--data", str(my_data), "--eta", "50", "--sigma", "0.1", "--out", str(tmp_path / "out")])
    out = capsys.readouterr().out
    assert code == 0
    assert "outside conditions" in out


def test_a_red_row_makes_the_run_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from numerics.radial_manifold import RadialManifold

    monkeypatch.setattr(RadialManifold, "selects_minimum_norm", lambda self: True)
    assert cli.main(["--claims", "C5", "--quick", "--stop", "--out", str(tmp_path)]) == 1
    assert find("C5:flattest point").controls
