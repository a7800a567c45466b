"""The sweep that the tests run: four points of two shards each, well under a second."""

import json
from pathlib import Path

from numerics.folder import result_folder
from numerics.sweep.config import Sweep, parse
from numerics.sweep.engines import Engine, local
from numerics.sweep.runner import Finished, run

CONFIG = {
    "job": "phase2",
    "block": 3,
    "fixed": {"data": "gaussian", "n": 4, "replicas": 6, "steps": 400, "records": 10},
    "grid": {"eta_fraction": [0.3, 0.6]},
    "random": {"draws": 2, "seed": 5, "sigma": {"distribution": "loguniform", "low": 0.01, "high": 0.1}},
}
#: any dynamics and sampling: six points, ten shards
SIMULATED = {
    "job": "simulate",
    "fixed": {**CONFIG["fixed"], "momentum": 0.5, "small": True},
    "grid": {"dynamics": ["sgd", "momentum", "slow-law"], "sampling": ["with-replacement", "shuffle"]},
    "random": {},
}


def sweep(**changes) -> Sweep:
    return parse({**CONFIG, **changes})


def do(chosen: Sweep, out: Path, engine: Engine | None = None) -> Finished:
    """Run the sweep in this process."""
    with result_folder(out) as folder:
        return run(chosen, folder, engine or local(1), lambda *_: None)


def written(path: Path, **changes) -> Path:
    """The configuration as a file."""
    path.write_text(json.dumps({**CONFIG, **changes}))
    return path
