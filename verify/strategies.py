"""Hypothesis strategies for cases: everything a claim is said to hold for, simplest first so that failures shrink
to it.
"""

from hypothesis import strategies as st

from verify.case import SPECTRA, Case
from verify.experiment import Domain


def cases(domain: Domain) -> st.SearchStrategy[Case]:
    """Cases of a domain. Shrinks towards two rows, isotropic inputs, B = 1, the smallest load and noise, seed 0."""
    return st.builds(
        Case,
        depth=st.sampled_from(domain.depths),
        n=st.integers(1, domain.largest_n),
        extra=st.integers(1, 12),
        spectrum=st.sampled_from(SPECTRA),
        batch=st.sampled_from(domain.batches),
        load=_rounded(*domain.loads),
        noise=_rounded(*domain.noises),
        rho0=_rounded(0.5, 2.5),
        seed=st.integers(0, 999),
    )


def _rounded(low: float, high: float) -> st.SearchStrategy[float]:
    """Eleven steps between low and high, two digits each: a failing example stays readable."""
    return st.integers(0, 10).map(lambda i: float(f"{low * (high / low) ** (i / 10):.2g}"))
