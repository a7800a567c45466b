"""`python -m paper_figs [NAMES] [--small] [--out DIR]`: compute, draw and write figures; exit code 2 for bad input."""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

from numerics.errors import InputError
from numerics.run.interrupt import MESSAGE, Interrupted, interruptible
from paper_figs.catalogue import FIGURES, chosen


@dataclass(frozen=True)
class Made:
    """A figure written.

    Its stem, the hash of its data, the seconds it took, and those that the processor worked for it.
    """

    stem: str
    digest: str
    seconds: float
    processor: float


def make(stem: str, out: Path, small: bool, seed: int) -> Made:
    """Compute, draw and write one figure: SVG, PDF, PNG, netCDF, and a JSON record with caption, alt text and hash."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # more threads would change bits
        return _make(stem, out, small, seed)


def _make(stem: str, out: Path, small: bool, seed: int) -> Made:
    from numerics import files
    from numerics.plotting import style
    from paper_figs.asserted import asserted
    from paper_figs.catalogue import load
    from paper_figs.record import checks, digest

    started, worked = time.perf_counter(), time.process_time()
    module = load(stem)
    data = module.data(small, seed)
    mark = digest(data)
    with style():
        files.write_figure(out / stem, module.draw(data))
    files.write_netcdf(out / f"{stem}.nc", data)
    record = {
        "figure": stem,
        "claims": module.CLAIMS,
        "caption": module.caption(data),
        "alt": module.ALT,
        "checks": checks(data),
        "asserted": asserted(module.CLAIMS),
        "sha256": mark,
        "small": small,
        "seed": seed,
    }
    files.write_json(out / f"{stem}.json", record)
    return Made(stem, mark, time.perf_counter() - started, time.process_time() - worked)


def make_all(stems: Sequence[str], out: Path, small: bool, seed: int, jobs: int) -> Iterator[Made]:
    """Figures as they are done, in ``jobs`` processes; data do not depend on their number."""
    if jobs == 1 or len(stems) == 1:
        yield from (make(stem, out, small, seed) for stem in stems)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_quiet) as pool:
        try:
            futures = [pool.submit(make, stem, out, small, seed) for stem in stems]
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            for process in active_children():  # every file is all or nothing, so that they may be stopped anywhere
                process.kill()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _quiet() -> None:
    """Ctrl-C is the parent's to handle."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The parsed command line."""
    parser = argparse.ArgumentParser(prog="python -m paper_figs", description=__doc__)
    parser.add_argument("names", nargs="*", help="figures, with or without fig_ [all]")
    parser.add_argument("--small", action="store_true", help="the whole set in a minute: fewer replicas and steps")
    parser.add_argument("--out", type=Path, default=Path("out/figures"), help="folder [out/figures]")
    parser.add_argument("--seed", type=int, default=0, help="of everything random [0]")
    parser.add_argument(
        "--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes [2]; data do not depend on it"
    )
    parser.add_argument("--list", action="store_true", help="show the figures and stop")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line; exits with 0, 1 (unexpected), 2 (bad input), 130 (Ctrl-C) or 143 (SIGTERM)."""
    options = arguments(words)
    if options.list:
        print("\n".join(f"{stem:24} {subject}" for stem, subject in FIGURES.items()))
        return
    try:
        with interruptible():
            _run(options)
    except InputError as error:
        _stop(f"error: {error}", 2)
    except Interrupted as stop:
        _stop(MESSAGE, stop.code)


def _run(options: argparse.Namespace) -> None:
    from numerics.files import prepare_folder

    stems = chosen(options.names)
    if options.jobs < 1:
        raise InputError("jobs", options.jobs, "is below 1", "give at least 1")
    if not 0 <= options.seed < 2**64:
        raise InputError("seed", options.seed, "is not a whole number in [0, 2^64)", "give a non-negative integer")
    started, folder, worked = time.perf_counter(), prepare_folder(options.out), 0.0
    for count, made in enumerate(make_all(_longest_first(stems), folder, options.small, options.seed, options.jobs), 1):
        worked += made.processor
        took = f"{made.seconds:6.1f} s ({made.processor:.1f} s of processor)"
        print(f"[{count:2}/{len(stems)}] {made.stem:24} {took:32} sha256 {made.digest}", flush=True)
    write_index(folder)
    wall = time.perf_counter() - started
    print(f"{len(stems)} figures in {wall:.0f} s, {worked:.0f} s of processor: {folder}/index.html")


def _longest_first(stems: list[str]) -> list[str]:
    """Real networks first: two processes then end together."""
    return sorted(stems, key=lambda stem: not stem.startswith("fig_network"))


def write_index(folder: Path) -> None:
    """index.html: every figure that lies in the folder, with caption and alt text."""
    from numerics.files import write_bytes
    from paper_figs.page import page

    write_bytes(folder / "index.html", page(folder).encode())


def _stop(line: str, code: int) -> Any:
    print(line, file=sys.stderr)
    sys.exit(code)
