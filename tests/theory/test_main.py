"""python -m theory: the chain as text and as LaTeX, and one line for what it does not know."""

import re

import pytest

from theory.__main__ import main


def test_text_shows_the_whole_chain_proved(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    titles = ["Definition, gradient, Hessian", "Noise and stationary covariance", "Slow law", "Scalar law", "Selection"]
    places = [shown.index(title) for title in titles]
    assert places == sorted(places)
    assert "NOT" not in shown
    proved, total = shown.strip().splitlines()[-1].split(" derivations")[0].split(" of ")
    assert proved == total
    assert shown.count("residual 0") == int(total)


def test_latex_is_balanced(capsys):
    assert main(["--parametrization", "diagonal-product", "--latex"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(r"\documentclass{article}")
    assert shown.rstrip().endswith(r"\end{document}")
    assert shown.count(r"\[") == shown.count(r"\]") > 20
    plain = shown.replace(r"\{", "").replace(r"\}", "")
    assert plain.count("{") == plain.count("}")
    assert all(ord(letter) < 128 for letter in shown)


@pytest.mark.parametrize("parametrization", ["radial", "coordinatewise"])
def test_latex_has_words_only_where_it_says_so(parametrization, capsys):
    """A symbol whose name is a word is spelled in `notation.SPELLING`; sympy alone would set it as a product."""
    main(["--parametrization", parametrization, "--latex"])
    displays = re.findall(r"\\\[\n(.*?)\n\\\]", capsys.readouterr().out, re.DOTALL)
    bare = [re.sub(r"\\(mathrm|operatorname)\{[^}]*\}|\\[a-zA-Z]+|matrix", " ", shown) for shown in displays]
    assert len(bare) > 40
    assert not [shown for shown in bare if re.search("[a-zA-Z]{3}", shown)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--latx"], "theory: unknown option --latx; did you mean --latex?"),
        (["--parametrization", "radail"], "theory: unknown parametrization radail; did you mean radial?"),
        (["--depth"], "theory: argument --depth: expected one argument"),
        (["--g", "r**2"], "theory: unknown option --g"),
    ],
)
def test_bad_options_get_one_line_and_exit_code_two(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.startswith(message)
    assert error.count("\n") == 1


def test_a_bad_depth_gets_one_line_and_exit_code_two(capsys):
    assert main(["--depth", "0.5"]) == 2
    error = capsys.readouterr().err
    assert error == "theory: depth = 0.5 is not a real number of at least 1; give one such as 1, 2.5 or 3\n"
