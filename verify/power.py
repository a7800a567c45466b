"""Power: each mutant is planted in a copy of the source and the suite run against it. A suite that nothing can turn
red shows nothing.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from numerics.errors import InputError
from numerics.files import write_json
from theory.claims import CLAIMS
from verify.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parent.parent
PACKAGES = ("theory", "numerics", "verify")
#: share of the mutants that has to be caught
REQUIRED = 0.95
_TIME_LIMIT = 900


@dataclass(frozen=True)
class Outcome:
    """What the suite said about a mutant: caught or not, by which row or error, in how long."""

    mutant: Mutant
    caught: bool
    by: str
    seconds: float


def plant(mutant: Mutant, folder: Path) -> None:
    """Copy the packages, compiled kernels included, and change the one line. Raises ValueError where it is not
    there once.
    """
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("networks", "run", "test_*"))
    path = folder / mutant.file
    text = path.read_text()
    if text.count(mutant.old) != 1:
        raise ValueError(
            f"mutant {mutant.name}: its line occurs {text.count(mutant.old)} times in {mutant.file}, not once"
        )
    path.write_text(text.replace(mutant.old, mutant.new))


def run(mutant: Mutant) -> Outcome:
    """The fixed cases of the claims that should notice, then everything."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        plant(mutant, Path(name))
        rest = [claim.number for claim in CLAIMS if claim.number not in mutant.claims]
        stages = ((mutant.claims, ["--quick"]), (mutant.claims, []), (rest, []))
        for claims, options in stages:
            red, by = _suite(Path(name), claims, options)
            if red:
                return Outcome(mutant, True, by, time.perf_counter() - began)
    return Outcome(mutant, False, "", time.perf_counter() - began)


def _suite(folder: Path, claims: Sequence[str], options: Sequence[str]) -> tuple[bool, str]:
    """Whether the suite turns red in a folder, and the row or the error that did it."""
    command = [sys.executable, "-m", "verify", "--stop", "--claims", ",".join(claims), *options]
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_TIME_LIMIT)
    except subprocess.TimeoutExpired:
        return True, "time limit"
    if done.returncode == 0:
        return False, ""
    return True, _reason(done.stdout, done.stderr)


def _reason(output: str, errors: str) -> str:
    """The row that went wrong, or the last line of the error."""
    rows = [line for line in output.splitlines() if line.startswith("C") and ":" in line.split(" ")[0]]
    if rows:
        return rows[0]
    lines = [line for line in errors.splitlines() if line.strip()]
    return lines[-1][:100] if lines else "no message"


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as lines of text, and the share caught."""
    lines = [f"{'mutant':32}  {'file':34}  {'seconds':>7}  caught by", "-" * 110]
    lines += [_line(outcome) for outcome in outcomes]
    caught = sum(outcome.caught for outcome in outcomes)
    return "\n".join([*lines, "", f"{caught} of {len(outcomes)} mutants caught ({caught / len(outcomes):.0%})"])


def _line(outcome: Outcome) -> str:
    found = outcome.by[:60] if outcome.caught else "NOT CAUGHT: " + (outcome.mutant.survives or "unexplained")
    return f"{outcome.mutant.name:32}  {outcome.mutant.file:34}  {outcome.seconds:7.1f}  {found}"


def selected(only: str, fast: bool) -> tuple[Mutant, ...]:
    """The mutants named, or CI's subset, or all."""
    names = [name.strip() for name in only.split(",") if name.strip()]
    known = {mutant.name: mutant for mutant in MUTANTS}
    for name in names:
        if name not in known:
            raise InputError("only", name, "is not a mutant", "choose from verify/mutants.toml")
    if names:
        return tuple(known[name] for name in names)
    return tuple(mutant for mutant in MUTANTS if mutant.fast or not fast)


def main(options: argparse.Namespace) -> int:
    """`python -m verify power`: 0 if enough mutants are caught and every survivor is explained."""
    from tqdm import tqdm

    mutants = selected(options.only, options.fast)
    with (
        ThreadPoolExecutor(options.jobs) as pool,
        tqdm(total=len(mutants), unit="mutant", disable=None, leave=False) as bar,
    ):
        outcomes = []
        for outcome in pool.map(run, mutants):
            outcomes.append(outcome)
            bar.update()
    print(table(outcomes))
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "power.json", [_record(outcome) for outcome in outcomes])
    survivors = [outcome for outcome in outcomes if not outcome.caught]
    explained = all(outcome.mutant.survives for outcome in survivors)
    return 0 if explained and len(survivors) <= (1 - REQUIRED) * len(outcomes) else 1


def _record(outcome: Outcome) -> dict[str, object]:
    mutant = outcome.mutant
    return {
        "name": mutant.name,
        "file": mutant.file,
        "old": mutant.old,
        "new": mutant.new,
        "caught": outcome.caught,
        "by": outcome.by,
        "survives": mutant.survives,
        "seconds": round(outcome.seconds, 1),
    }
