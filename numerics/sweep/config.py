"""A sweep's configuration: TOML or JSON, validated whole before anything is written."""

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from numerics.errors import InputError
from numerics.run.settings import Settings
from numerics.start import generator
from numerics.sweep.jobs import JOBS

#: distribution -> its parameters
DISTRIBUTIONS = {
    "uniform": ("low", "high"),
    "loguniform": ("low", "high"),
    "integers": ("low", "high"),
    "choice": ("values",),
}
DRAW = "draw"


@dataclass(frozen=True, eq=False)
class Sweep:
    """Every combination of the grid's values with every random draw, on top of fixed settings.

    ``axes``: name -> values of each grid axis; ``draws``: name -> one value per draw; ``block``: replicas of a shard.
    """

    job: str
    block: int
    fixed: dict[str, Any]
    axes: dict[str, list[Any]]
    draws: dict[str, list[Any]]
    config: dict[str, Any]

    @property
    def shape(self) -> dict[str, int]:
        """Length of each dimension of the result."""
        random = {DRAW: len(next(iter(self.draws.values())))} if self.draws else {}
        return {name: len(values) for name, values in self.axes.items()} | random

    @cached_property
    def varied(self) -> list[dict[str, Any]]:
        """What varies, at every point, the last dimension running fastest."""
        grid = [dict(zip(self.axes, values, strict=True)) for values in product(*self.axes.values())]
        draws = [dict(zip(self.draws, values, strict=True)) for values in zip(*self.draws.values(), strict=True)]
        return [node | draw for node in grid for draw in draws or [{}]]

    @cached_property
    def points(self) -> list[Settings]:
        """The settings of every point."""
        own = {"out": Path("."), "threads": 1}
        return list(JOBS[self.job].points([self.fixed | varied | own for varied in self.varied]))

    @property
    def inputs(self) -> list[str]:
        """The files that the points read."""
        return sorted({name for point in self.points for name in point.inputs})


def load(path: str | Path) -> Sweep:
    """The sweep of a .toml or .json file. Raises InputError, in one line, for whatever is wrong with it."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        return parse(json.loads(text) if Path(path).suffix == ".json" else tomllib.loads(text))
    except OSError as error:
        raise InputError("CONFIG", path, f"cannot be read ({error.strerror})", "check the path") from None
    except UnicodeDecodeError:
        raise InputError("CONFIG", path, "is not UTF-8 text", "save it as TOML") from None
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise InputError("CONFIG", path, f"is not valid ({error})", "see docs/howto/cluster.md") from None


def parse(config: Mapping[str, Any]) -> Sweep:
    """The sweep that a configuration describes, every point validated. Raises InputError."""
    _known("", config, ("job", "block", "fixed", "grid", "random"))
    job = config.get("job")
    if job not in JOBS:
        raise InputError("job", job, "cannot be swept", _nearest(str(job), JOBS))
    block = config.get("block", 16)
    if type(block) is not int or block < 2:
        raise InputError("block", block, "is not a whole number of at least 2", "give the replicas of one shard")
    fixed, grid, random = (_table(config, name) for name in ("fixed", "grid", "random"))
    names = JOBS[job].names
    axes = {_setting("grid", name, names): _values(name, given) for name, given in grid.items()}
    draws = _draws(random, names)
    fixed = {_setting("fixed", name, names): value for name, value in fixed.items()}
    _once([*fixed], [*axes], [*draws])
    if not axes and not draws:
        raise InputError("grid", "empty", "leaves nothing to sweep over", "vary a setting in [grid] or [random]")
    sweep = Sweep(job, block, fixed, axes, draws, dict(config))
    sweep.points  # noqa: B018  # validates every one of them
    return sweep


def _table(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = config.get(name, {})
    if not isinstance(found, dict):
        raise InputError(name, found, "is not a table", f"write [{name}] and its settings below")
    return found


def _setting(table: str, name: str, names: list[str]) -> str:
    plain = name.replace("-", "_")
    _known(table, [plain], names)
    return plain


def _known(table: str, names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            where = f" in [{table}]" if table else ""
            raise InputError("key", name, f"is unknown{where}", _nearest(name, known))


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"choose {', '.join(known)}"


def _once(*groups: list[str]) -> None:
    names = [name for group in groups for name in group]
    for name in names:
        if names.count(name) > 1:
            raise InputError("setting", name, "is given twice", "leave it in one of [fixed], [grid] and [random]")


def _values(name: str, given: Any) -> list[Any]:
    """A list as it is; a table {from, to, count, scale} as so many numbers."""
    if isinstance(given, dict):
        return _range(name, given)
    if not isinstance(given, list) or not given:
        raise InputError(name, given, "is no list of values", "write [1, 2, 3], or {from = 1, to = 3, count = 3}")
    if len({json.dumps(value) for value in given}) < len(given):
        raise InputError(name, given, "holds a value twice", "give each value once")
    return given


def _range(name: str, given: dict[str, Any]) -> list[Any]:
    _known(f"grid.{name}", given, ("from", "to", "count", "scale"))
    low, high = (_number(name, given, key) for key in ("from", "to"))
    count, scale = given.get("count"), given.get("scale", "linear")
    if type(count) is not int or count < 2:
        raise InputError(f"{name}.count", count, "is not a whole number of at least 2", "say how many values")
    if scale not in ("linear", "log"):
        raise InputError(f"{name}.scale", scale, "is unknown", _nearest(str(scale), ("linear", "log")))
    if scale == "log" and not (low > 0 and high > 0):
        raise InputError(f"{name}.from", min(low, high), "is not positive", "a logarithmic scale needs positive ends")
    return [float(x) for x in (np.geomspace if scale == "log" else np.linspace)(low, high, count)]


def _number(name: str, given: dict[str, Any], key: str) -> float:
    value = given.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise InputError(f"{name}.{key}", value, "is not a finite number", "give one")
    return value


def _draws(random: dict[str, Any], names: list[str]) -> dict[str, list[Any]]:
    """name -> one value per draw. A setting's values depend on its name and the seed alone, not on the others."""
    tables = {_setting("random", name, names): given for name, given in random.items() if name not in ("draws", "seed")}
    if not random:
        return {}
    count, seed = random.get("draws"), random.get("seed")
    if type(count) is not int or count < 1:
        raise InputError("random.draws", count, "is not a whole number of at least 1", "say how many points to draw")
    if type(seed) is not int or not 0 <= seed < 2**64:
        raise InputError("random.seed", seed, "is not a whole number in [0, 2^64)", "give a seed of the design")
    if not tables:
        raise InputError("random", "empty", "leaves nothing to draw", "give a setting and its distribution")
    return {name: _drawn(name, given, count, seed) for name, given in tables.items()}


def _drawn(name: str, given: Any, count: int, seed: int) -> list[Any]:
    if not isinstance(given, dict) or given.get("distribution") not in DISTRIBUTIONS:
        kind = given.get("distribution") if isinstance(given, dict) else given
        raise InputError(f"{name}.distribution", kind, "is unknown", _nearest(str(kind), DISTRIBUTIONS))
    kind = given["distribution"]
    _known(f"random.{name}", given, ("distribution", *DISTRIBUTIONS[kind]))
    draw = generator(seed, f"sweep {name}")
    if kind == "choice":
        values = _values(f"{name}.values", given.get("values"))
        return [values[i] for i in draw.integers(len(values), size=count)]
    low, high = (_number(name, given, key) for key in ("low", "high"))
    if not low < high:
        raise InputError(f"{name}.high", high, f"is not above low = {low:g}", "swap them, or fix the setting")
    if kind == "integers":
        if low != int(low) or high != int(high):
            raise InputError(f"{name}.low", low, "or high is not whole", "give whole numbers; both can be drawn")
        return [int(value) for value in draw.integers(int(low), int(high) + 1, size=count)]
    if kind == "loguniform":
        if not low > 0:
            raise InputError(f"{name}.low", low, "is not positive", "a logarithmic scale needs a positive end")
        return [float(value) for value in np.exp(draw.uniform(np.log(low), np.log(high), count))]
    return [float(value) for value in draw.uniform(low, high, count)]
