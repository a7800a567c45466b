"""The command line of `python -m verify`: the whole run, one row of it, a user's own problem, or its power against
mutants.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from numerics.errors import InputError
from numerics.run.interrupt import MESSAGE, Interrupted, interruptible
from verify.harness import Plan, Row

if TYPE_CHECKING:
    from verify.experiment import Experiment


def main(arguments: Sequence[str]) -> int:
    """Run a command; returns the exit code."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        with interruptible():
            return int(options.act(options))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except Interrupted as stop:
        print(MESSAGE, file=sys.stderr)
        return stop.code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m verify", description=__doc__)
    parser.set_defaults(act=_whole)
    add = parser.add_argument
    add("--full", action="store_true", help="ten times as many drawn examples")
    add("--seed", type=int, default=0, help="0: CI's cases; any other number: other problems and random numbers")
    add("--claims", default="", help="only these, as C2,C4 [all]")
    add("--out", type=Path, default=Path("out/verify"), help="folder for report.html and report.json")
    add("--quick", action="store_true", help="fixed cases only: no drawn examples, no controls")
    add("--stop", action="store_true", help="stop at the first row that goes wrong; write no report")
    own = parser.add_argument_group("your own problem")
    own.add_argument("--data", help="a .npz with X and y (or w_star), a .csv, digits, diabetes or gaussian")
    own.add_argument("--n", type=int, help="training rows [a file: all]")
    own.add_argument("--target", help="csv: column of y")
    own.add_argument("--depth", type=float, default=2.0, help="depth D of w = |u|^(D-1) u [2]")
    own.add_argument("--eta", type=float, help="learning rate [half the stability limit]")
    own.add_argument("--batch", type=int, default=1, help="batch size [1]")
    own.add_argument("--sigma", type=float, help="label-noise standard deviation [so that tr S/|u|^2 = 3e-4]")
    own.add_argument("--rho0", type=float, help="start: distance from the minimum-norm solution [1.5 |w_mn|]")
    commands = parser.add_subparsers()
    row = commands.add_parser("row", help="repeat one row of a report")
    row.add_argument("key", help="as C4:drift")
    row.add_argument("--case", default=None, help="JSON of a case")
    row.add_argument("--control", default=None, help="name of a control")
    row.set_defaults(act=_row)
    rotate = commands.add_parser("rotate", help="many runs on rotating seeds: how often is one red?")
    rotate.add_argument("--runs", type=int, default=200)
    rotate.add_argument("--first", type=int, default=1, help="the first seed")
    rotate.add_argument("--quick", action="store_true", help="fixed cases moved to the seed; no drawn examples")
    rotate.set_defaults(act=_rotate)
    power = commands.add_parser("power", help="run the checks against mutants of theory and simulators")
    power.add_argument("--fast", action="store_true", help="CI's subset")
    power.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    power.add_argument("--only", default="", help="names of mutants, comma-separated")
    power.add_argument("--out", type=Path, default=Path("out/verify"), help="folder for power.json")
    power.set_defaults(act=_power)
    return parser


def _whole(options: argparse.Namespace) -> int:
    from verify import registry, report, scorecard
    from verify.harness import plan
    from verify.own import own_plan

    began = time.perf_counter()
    if options.data:
        todo = own_plan(options)
    else:
        wanted = _selected(options.claims)
        factor = 10 if options.full else 1
        todo = plan(wanted, everything=registry.EXPERIMENTS, seed=options.seed, factor=factor, quick=options.quick)
    rows = _run(todo, stop=options.stop)
    print(scorecard.text(rows, todo.budget))
    bad = [row for row in rows if not row.good]
    if bad:
        print("\n" + scorecard.failures(bad))
    if not options.stop:
        seconds = time.perf_counter() - began
        page = report.write(options.out, rows, todo.budget, seed=options.seed, seconds=seconds)
        print(f"\n{page}\n{page.with_suffix('.json')}")
    return 1 if any(_failed(row) for row in bad) or (bad and not options.data) else 0


def _failed(row: Row) -> bool:
    return any(check.verdict == "fail" for check in row.checks)


def _run(todo: Plan, *, stop: bool) -> list[Row]:
    from tqdm import tqdm

    rows = []
    with tqdm(total=len(todo.items), unit="row", disable=None, leave=False) as bar:
        for row in todo.run():
            bar.set_postfix_str(row.experiment.key, refresh=False)
            bar.update()
            rows.append(row)
            if stop and not row.good:
                break
    return rows


def _selected(claims: str) -> "list[Experiment]":
    from verify.registry import EXPERIMENTS

    wanted = [name.strip().upper() for name in claims.split(",") if name.strip()]
    known = {e.claim for e in EXPERIMENTS}
    for name in wanted:
        if name not in known:
            raise InputError("claims", name, "is not a claim", "choose C1 to C16")
    return [e for e in EXPERIMENTS if not wanted or e.claim in wanted]


def _row(options: argparse.Namespace) -> int:
    from verify.case import Case
    from verify.harness import describe, run_one
    from verify.registry import BUDGET, EXPERIMENTS

    found = [e for e in EXPERIMENTS if e.key == options.key]
    if not found:
        raise InputError("row", options.key, "is not an experiment", "choose " + ", ".join(e.key for e in EXPERIMENTS))
    experiment = found[0]
    if options.control is not None:
        controls = [c for c in experiment.controls if c.name == options.control]
        if not controls:
            names = ", ".join(c.name for c in experiment.controls) or "none: it has no controls"
            raise InputError("control", options.control, f"is not one of {options.key}", f"choose {names}")
        row = run_one(experiment, controls[0], BUDGET)
    else:
        row = run_one(experiment, Case.read(options.case or "{}"), BUDGET)
    print("\n".join([f"{experiment.key} {row.label}", *map(describe, row.checks)]))
    print("as it must be" if row.good else "NOT as it must be")
    return 0 if row.good else 1


def _rotate(options: argparse.Namespace) -> int:
    from verify.harness import plan
    from verify.registry import EXPERIMENTS
    from verify.scorecard import failures

    red = 0
    for seed in range(options.first, options.first + options.runs):
        todo = plan(EXPERIMENTS, everything=EXPERIMENTS, seed=seed, quick=options.quick)
        bad = [row for row in todo.run() if not row.good and row.control is None]
        red += bool(bad)
        print(f"seed {seed}: {'red' if bad else 'green'}", flush=True)
        if bad:
            print(failures(bad), flush=True)
    print(f"{red} of {options.runs} runs red")
    return 1 if red else 0


def _power(options: argparse.Namespace) -> int:
    from verify import power

    return power.main(options)
