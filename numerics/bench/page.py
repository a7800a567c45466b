"""The printed table of `bench`."""

from math import isnan
from typing import Any

import numpy as np
import typer

from numerics.bench.compare import Found, ran
from numerics.bench.problem import Workload, flops, traffic
from numerics.bench.worker import OURS


class Page:
    """The printed table, kept for the file."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str = "") -> None:
        """Print and keep."""
        self.lines.append(line)
        typer.echo(line)

    def machine(self, result: dict[str, Any]) -> None:
        """Probes, starting times, peers."""
        m, s = result["machine"], result["start"]
        giga = {name: m[name] / 1e9 for name in ("flops", "cache_bandwidth", "memory_bandwidth")}
        self.say(
            f"{m['cores']:.0f} cores: {giga['flops']:.0f} Gflop/s in a matrix product,"
            f" {giga['cache_bandwidth']:.0f} GB/s in the second-level cache,"
            f" {giga['memory_bandwidth']:.0f} GB/s in memory"
        )
        self.say(f"random numbers: {m['draw_seconds'] * 1e9:.2f} ns per (normal, row) on one core")
        self.say(
            f"start to first record of phase2: {s['cold']:.2f} s with an empty compile cache,"
            f" {s['cached']:.2f} s cached; import {s['import']:.2f} s,"
            f" first result of W1 after it {s['first_result_after_import']:.2f} s"
        )
        self.say("peers: " + ", ".join(f"{peer} {state}" for peer, state in result["peers"].items()) + "\n")

    def workload(self, name: str, workload: Workload, one: dict[str, Any], machine: dict[str, float]) -> None:
        """Engines, shares of the limits, ratios."""
        self.say(f"{name}: {workload}")
        self.say(
            f"  reduced and full paths differ by {one['paths_differ']:.1g} on the same draws; all mean losses agree"
        )
        self.say(f"  {'engine':24} {'replica-steps/s':>16} {'cpu s/million':>14} {'peak MB':>8} {'ready s':>8}")
        for engine, rows in one["rounds"].items():
            self.say("  " + _engine_line(engine, rows))
        self._shares(workload, one["rounds"], machine)
        for c in one["comparisons"]:
            self.say(f"  {c['kind']:19} {c['ours']} / {c['peer']}: {_ratio(c['wall'])} wall, {_ratio(c['cpu'])} cpu")
        self.say()

    def _shares(self, workload: Workload, found: Found, machine: dict[str, float]) -> None:
        for engine in ran(found):
            if engine.startswith(OURS):
                reduced, rate = engine.endswith("reduced"), float(np.median([row["rate"] for row in found[engine]]))
                drawing = rate * workload.draws * machine["draw_seconds"] / machine["cores"]
                self.say(
                    f"  {engine}: {rate * flops(workload, reduced) / machine['flops']:.0%} of the flop roofline,"
                    f" {rate * traffic(workload, reduced) / machine['cache_bandwidth']:.0%} of the cache's bandwidth;"
                    f" takes {1 / drawing:.2f} times the drawing of its random numbers alone"
                )

    def growth(self, rows: list[dict[str, Any]]) -> None:
        """Our rate against size."""
        self.say("growth (ours, first workload):")
        for row in rows:
            outcome = row.get("error") or f"{row['rate']:.3g} replica-steps/s, {row['peak_mb']:.0f} MB"
            self.say(f"  {row['grows']} = {row['value']}: {outcome}")


def _engine_line(engine: str, rows: list[dict[str, Any]]) -> str:
    if "error" in rows[-1]:
        return f"{engine:24} failed: {rows[-1]['error']}"
    rate, cpu, memory, ready = (float(np.median([row[k] for row in rows])) for k in ("rate", "cpu", "peak_mb", "ready"))
    return f"{engine:24} {rate:16.3g} {cpu:14.3g} {memory:8.0f} {ready:8.1f}"


def _ratio(r: dict[str, float]) -> str:
    interval = "one round" if isnan(r["low"]) else f"[{r['low']:.3g}, {r['high']:.3g}]"
    return f"{r['ratio']:.3g} {interval}"
