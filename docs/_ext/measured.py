"""The numbers that pages name as {{ key }}: read from the figures' data and from verify's checks, never typed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray

Numbers = dict[str, str]

#: a standard error below this is rounding, not sampling
ROUNDING = 1e-9


def numbers(folder: Path) -> Numbers:
    """Key -> text. A missing figure gives a clear placeholder instead of failing the build."""
    found: Numbers = {}
    for make in (_law, _selection, _stability, _controls, _momentum, _classification, _orders, _network, _decay):
        try:
            found |= make(folder)
        except FileNotFoundError as error:
            print(f"measured: {Path(error.filename).name} is missing; run python -m paper_figs --out docs/figures")
    return found


def _data(folder: Path, stem: str) -> xarray.Dataset:
    path = folder / f"{stem}.nc"
    if not path.exists():
        raise FileNotFoundError(2, "missing", str(path))
    return xarray.load_dataset(path, engine="h5netcdf")


def _checks(folder: Path, stem: str) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads((folder / f"{stem}.json").read_text(encoding="utf-8"))["checks"]
    return records


def pair(mean: float, sem: float) -> str:
    """mean ± standard error with two digits of the error."""
    if sem < ROUNDING:
        return f"{mean:.4g} to rounding"
    digits = max(0, 1 - int(np.floor(np.log10(sem))))
    return f"{mean:.{digits}f} ± {sem:.{digits}f}"


def _law(folder: Path) -> Numbers:
    data, checks = _data(folder, "fig_scalar_law"), _checks(folder, "fig_scalar_law")
    last, off = checks[-1], np.max(np.abs(data["small_eta"].values / data["law"].values - 1), axis=1)
    floor = _data(folder, "fig_noise_floor")
    return {
        "law_observed": pair(last["observed"], last["sem"]),
        "law_predicted": f"{last['predicted']:.4f}",
        "law_load": f"{data['load'].values[-1]:.0%}",
        "small_eta_off": ", ".join(f"{o:.0%} at {s:.0%}" for o, s in zip(off, data["load"].values, strict=True)),
        "floor_ratio": pair(*floor["simulated"].values[0, -1]),
        "floor_load": f"{floor['load_simulated'].values[-1]:.0%}",
    }


def _selection(folder: Path) -> Numbers:
    drift = _data(folder, "fig_selection")["drift"].values
    clear = np.abs(drift[..., 0]) > 3 * drift[..., 1]
    right = np.sign(drift[..., 0]) == np.sign(drift[..., 2])
    return {"selection_right": str(int(np.sum(right & clear))), "selection_clear": str(int(np.sum(clear)))}


def _stability(folder: Path) -> Numbers:
    data = _data(folder, "fig_stability")
    limit, batch = data["limit_at"].values, data["batch_simulated"].values
    return {
        "limit_smallest": f"{limit[0]:.0%}",
        "limit_largest": f"{limit[-1]:.0%}",
        "batch_largest": str(int(batch[-1])),
        "limit_ratio": pair(*data["crossing"].values[0]),
    }


def _controls(folder: Path) -> Numbers:
    ends = _data(folder, "fig_controls")["rho"].values[:, -1]
    names = ("fresh", "minibatch", "static", "flat", "isotropic")
    return {f"control_{name}": pair(*end) for name, end in zip(names, ends, strict=True)}


def _momentum(folder: Path) -> Numbers:
    data = _data(folder, "fig_momentum")
    return {
        "momentum_observed": pair(*data["rho"].values[-1, -1]),
        "momentum_law": f"{data['law'].values[-1, -1]:.4f}",
        "momentum_small_eta": f"{data['small_eta'].values[-1, -1]:.4f}",
        "momentum_limit": f"{data['limit'].values[-1]:.2f}",
        "momentum_beta": f"{data['betas'].values[-1]:g}",
    }


def _classification(folder: Path) -> Numbers:
    data = _data(folder, "fig_classification")
    off = data["rho"].values[:, -1, 0] / data["law"].values[:, -1] - 1
    return {"flip_off": ", ".join(f"{o:+.1%} at p = {p:g}" for o, p in zip(off, data["flip"].values, strict=True))}


def _orders(folder: Path) -> Numbers:
    slopes = [record["observed"] for record in _checks(folder, "fig_sde")]
    return {
        name: f"{slope:.2f}"
        for name, slope in zip(("order_sde", "order_corrected", "order_floor", "order_drift"), slopes, strict=True)
    }


def _network(folder: Path) -> Numbers:
    data = _data(folder, "fig_network_law")
    found = {"network_distance": f"{data['distance'].values[-1]:.1%}", "network_p": str(data.attrs["p"])}
    trace, test = _checks(folder, "fig_network_law")
    found |= {"network_trace": pair(trace["observed"], trace["sem"]), "network_trace_law": f"{trace['predicted']:.4g}"}
    found |= {"network_test": pair(test["observed"], test["sem"]), "network_test_law": f"{test['predicted']:.4g}"}
    late = _data(folder, "fig_network_late_decay")
    for kind, (mean, sem) in zip(late["kind"].values, late["change"].values, strict=True):
        found[f"late_{kind}"] = f"{100 * mean:+.1f} ± {100 * sem:.1f} %"
    return found | {"late_seeds": str(late.attrs["seeds"])}


def _decay(folder: Path) -> Numbers:
    data = _data(folder, "fig_decay_time")
    mean = data["late_test_loss_mean"].values
    rise = next(record for record in _checks(folder, "fig_decay_time") if "rise" in record["quantity"])
    return {
        "decay_first": f"{mean[0]:.4f}",
        "decay_best": f"{mean.min():.4f}",
        "decay_last": f"{mean[-1]:.4f}",
        "decay_rise": f"{rise['observed']:.2g}",
        "decay_bound": f"{rise['predicted']:.2g}",
    }
