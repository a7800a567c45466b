"""Options that several commands share, and what a pair of them means."""

from typing import Annotated

import typer

from numerics.errors import InputError

Data = Annotated[str, typer.Option(help="digits, diabetes, gaussian, a .npz or a .csv file")]
Rows = Annotated[int | None, typer.Option(help="training rows [20; a file: all]")]
Features = Annotated[int | None, typer.Option(help="random Fourier features; 0 keeps the columns")]
Target = Annotated[str | None, typer.Option(help="digits: parity or class; csv: column of y")]
Shape = Annotated[str, typer.Option(help="radial, coordinatewise, diagonal-difference, diagonal-product, sinh, tanh")]
Depth = Annotated[float | None, typer.Option(help="depth D, real, at least 1 [3]")]
Gamma = Annotated[float | None, typer.Option(help="the paper's gamma = D - 1, instead of --depth")]
Batch = Annotated[int, typer.Option(help="batch size, drawn with replacement")]
Sigma = Annotated[float, typer.Option(help="standard deviation of the fresh label noise")]
DecayFactor = Annotated[float, typer.Option(help="the decay divides the learning rate by this")]
Fraction = Annotated[float, typer.Option(help="that share")]
Rho0 = Annotated[str, typer.Option(help="start: distance from the minimum-norm solution, or auto: 1.5 |w_mn|")]
Seed = Annotated[int, typer.Option(help="of everything random")]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:1")]
Engine = Annotated[str, typer.Option(help="numba, torch, triton, or auto: numba on the CPU, the fastest on a card")]
Precision = Annotated[str, typer.Option(help="float64, or float32 on the torch and triton engines")]


def depth_of(depth: float | None, gamma: float | None) -> float:
    """D from --depth or --gamma = D - 1; 3 without either. Raises InputError where they contradict each other."""
    if depth is not None and gamma is not None and depth != gamma + 1:
        raise InputError("gamma", gamma, f"contradicts depth = {depth:g} (gamma = D - 1)", "give one of the two")
    if gamma is not None:
        if not gamma >= 0:
            raise InputError("gamma", gamma, "is negative", "give gamma = D - 1 of at least 0")
        return gamma + 1
    return 3.0 if depth is None else depth
