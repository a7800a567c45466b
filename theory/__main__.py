"""python -m theory: print the chain definition, gradient, Hessian, noise, slow law, scalar law, threshold."""

import argparse
import difflib
import sys
import textwrap
from collections.abc import Sequence
from typing import NoReturn

import sympy

from theory import (
    classification,
    controls,
    decay_time,
    invariants,
    landscape,
    momentum,
    momentum_epochs,
    noise_floor,
    notation,
    pathwise,
    sampling,
    scalar_law,
    selection,
    slow_law,
)
from theory.derivation import Derivation
from theory.parametrization import NAMES, Parametrization, Radial, named

OPTIONS = ("--parametrization", "--depth", "--latex", "--help")
Chain = list[tuple[str, tuple[Derivation, ...]]]


class _Parser(argparse.ArgumentParser):
    """One line and exit code 2 for bad input, with the nearest name for an unknown option."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"theory: {message}\n")
        raise SystemExit(2)


def chain(parametrization: Parametrization) -> Chain:
    """Return the titled sections of derivations for `parametrization`."""
    sections: Chain = [
        ("Definition, gradient, Hessian", landscape.derivations(parametrization)),
        ("Noise and stationary covariance", noise_floor.derivations()),
        ("Batches without replacement, epochs", sampling.derivations()),
        ("Slow law", slow_law.derivations(parametrization)),
    ]
    if isinstance(parametrization, Radial):
        sections.append(("Scalar law", scalar_law.derivations(parametrization)))
        sections.append(("Selection threshold", selection.derivations(parametrization)))
        sections.append(("Decay-time curve", decay_time.derivations()))
    sections.append(("Invariants", invariants.derivations(parametrization)))
    sections.append(("Controls", controls.derivations()))
    sections.append(("Classification with flipped labels", classification.derivations()))
    sections.append(("Momentum", momentum.derivations()))
    sections.append(("Momentum under shuffled epochs", momentum_epochs.derivations()))
    sections.append(("Pathwise identity of f = u v", pathwise.derivations()))
    return sections


def text(parametrization: Parametrization, sections: Chain) -> str:
    """Return the chain as readable text."""
    lines = [f"Parametrization {parametrization.name}", "", _indented(landscape.general_form(parametrization))]
    for title, steps in sections:
        lines += ["", title, "=" * len(title)]
        for step in steps:
            lines += ["", f"{step.name} ({step.claim})", *textwrap.wrap(step.statement, 100)]
            lines += ["", _indented(step.expression), "", f"    {status(step)}"]
    proofs = [step.proved for _, steps in sections for step in steps]
    return "\n".join([*lines, "", f"{sum(proofs)} of {len(proofs)} derivations proved."])


def status(step: Derivation) -> str:
    """One line: what was shown to vanish."""
    count = f"{len(step.residual)} component{'s' if len(step.residual) > 1 else ''}"
    return f"residual 0 ({count}): proved" if step.proved else f"residual NOT zero ({count}): not proved"


def latex(parametrization: Parametrization, sections: Chain) -> str:
    """Return the chain as a LaTeX document."""
    lines = [
        r"\documentclass{article}",
        r"\usepackage[T1]{fontenc}",
        r"\usepackage{amsmath}",
        r"\begin{document}",
        rf"\section*{{Parametrization {_escaped(parametrization.name)}}}",
        *_display(landscape.general_form(parametrization)),
    ]
    for title, steps in sections:
        lines.append(rf"\section{{{_escaped(title)}}}")
        for step in steps:
            lines.append(rf"\paragraph{{{_escaped(step.name)} ({_escaped(step.claim)})}} {_escaped(step.statement)}")
            lines += [*_display(step.expression), _escaped(status(step)) + "."]
    return "\n".join([*lines, r"\end{document}"])


def _display(expression: sympy.Basic) -> list[str]:
    names = {symbol: notation.latex_name(symbol) for symbol in expression.free_symbols}
    return [r"\[", sympy.latex(expression, symbol_names=names), r"\]"]


def _indented(expression: sympy.Basic) -> str:
    plain = {s: sympy.Symbol(notation.text_name(s), commutative=s.is_commutative) for s in expression.free_symbols}
    return textwrap.indent(sympy.pretty(expression.xreplace(plain), use_unicode=True, wrap_line=False), "    ")


def _escaped(words: str) -> str:
    special = {"\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}", **{c: "\\" + c for c in "_{}#$%&"}}
    return "".join(special.get(letter, letter) for letter in words)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="python -m theory", description=__doc__, allow_abbrev=False)
    parser.add_argument("--parametrization", default="radial", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--depth", default=None, metavar="D", help="a real number of at least 1; default: a symbol")
    parser.add_argument("--latex", action="store_true", help="print a LaTeX document")
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(f"unknown option {unknown[0]}" + _nearest(unknown[0].split("=")[0], OPTIONS))
    if known.parametrization not in NAMES:
        parser.error(f"unknown parametrization {known.parametrization}" + _nearest(known.parametrization, NAMES))
    return known


def _nearest(word: str, candidates: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, candidates, n=1, cutoff=0.0)
    return f"; did you mean {near[0]}?" if near else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 1 if a derivation is not proved, 2 for bad input."""
    options = _arguments(arguments)
    try:
        parametrization = named(options.parametrization, notation.D if options.depth is None else options.depth)
    except ValueError as problem:
        sys.stderr.write(f"theory: {problem}\n")
        return 2
    sections = chain(parametrization)
    print(latex(parametrization, sections) if options.latex else text(parametrization, sections))
    return 0 if all(step.proved for _, steps in sections for step in steps) else 1


if __name__ == "__main__":
    sys.exit(main())
