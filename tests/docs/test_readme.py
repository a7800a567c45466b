"""Every code block of the README runs; its table is that of theory.claims; its pictures exist."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, flags=re.DOTALL)
PYTHON = [code for kind, code in BLOCKS if kind == "python"]
COMMANDS = [
    line.split("  #")[0].strip() for kind, code in BLOCKS if kind == "sh" for line in code.splitlines() if line.strip()
]


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.splitlines()[-1][:40])
def test_python_blocks_run(code: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_library_example_has_eight_lines_and_prints_three_distances() -> None:
    assert len([line for line in PYTHON[0].splitlines() if line.strip()]) == 8
    done = subprocess.run([sys.executable, "-c", PYTHON[0]], cwd=ROOT, capture_output=True, text=True, check=True)
    first, middle, last = map(float, done.stdout.strip("[] \n").split())
    assert first == pytest.approx(4.0)
    assert first > middle > last > 0


@pytest.mark.parametrize("command", [c for c in COMMANDS if "python -m" in c])
def test_module_commands_run(command: str, tmp_path: Path) -> None:
    """As they stand, made small, into a folder of the test; `verify` with its fixed cases only."""
    words = command.replace(".venv/bin/python", sys.executable).split()
    if words[2] in ("numerics.run", "paper_figs"):
        words += ["--out", str(tmp_path)] + ["--small"] * (words[3] != "advise")  # small as it is
    if words[2] == "numerics.run" and words[3] in (
        "phase1",
        "phase2",
        "phase3",
    ):  # whole jobs are run in tests/numerics
        words += ["--steps", "3000", "--replicas", "4", "--records", "10"]
    if words[2] == "verify":
        words += ["--quick", "--out", str(tmp_path)]
    if words[2] == "theory":  # proofs take half a minute and are tested in tests/theory
        words += ["--help"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("target", [c.split()[1] for c in COMMANDS if c.startswith("make ")])
def test_make_targets_exist(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_other_kind_of_command_is_in_the_readme() -> None:
    rest = [c for c in COMMANDS if not (c.startswith("make ") or "python -m" in c)]
    assert rest == [
        ".venv/bin/pip install -c constraints.txt -e '.[app]'",
        ".venv/bin/marimo run paper_figs/explorer.py",
    ]
    assert (ROOT / "paper_figs/explorer.py").exists()


def test_the_table_is_that_of_the_claims() -> None:
    path = ROOT / "docs/_ext/readme_table.py"
    spec = importlib.util.spec_from_file_location("readme_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.updated(TEXT) == TEXT, "run: python docs/_ext/readme_table.py"


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert targets
    missing = [t for t in targets if not t.startswith("http") and not (ROOT / t).exists()]
    assert not missing
