"""The pages: code blocks run, generated text is current, numbers are read and never typed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from theory.claims import CLAIMS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "_ext"))

import api_pages  # noqa: E402
import claim_pages  # noqa: E402
import figure_pages  # noqa: E402
import measured  # noqa: E402

PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("howto/*.md")])
EXECUTED = [page for page in PAGES if "{executed}" in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", EXECUTED, ids=lambda page: page.stem)
def test_blocks_of_a_page_run_in_order(page: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"```\{executed\}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_number_that_a_page_names_is_measured() -> None:
    named = {key for page in PAGES for key in re.findall(r"\{\{ (\w+) \}\}", page.read_text(encoding="utf-8"))}
    known = measured.numbers(DOCS / "figures")
    assert named <= set(known), sorted(named - set(known))
    assert not any("nan" in text for text in known.values())


def test_the_critics_page_answers_ten_questions() -> None:
    text = (DOCS / "critics.md").read_text(encoding="utf-8")
    assert len(re.findall(r"^## \d+\. .*\?$", text, flags=re.MULTILINE)) == 10
    assert "{{ " in text


def test_every_claim_has_a_page_with_formula_check_and_derivation(tmp_path: Path) -> None:
    store = tmp_path / "derivations.json"
    steps = [{"claim": "C4", "name": "step", "statement": "It moves.", "latex": "x = 0", "status": "proved"}]
    import derivations

    store.write_text(json.dumps({"sources": derivations.fingerprint(), "steps": steps}))
    pages = claim_pages.pages(figure_pages.records(DOCS / "figures"), store)
    for claim in CLAIMS:
        text = pages[f"claims/{claim.number}.md"]
        assert f"python -m verify --claims {claim.number}" in text
        assert claim.latex[0] in text
        assert (f"/figures/{claim.figure}.svg" in text) == bool(claim.figure)
    assert "x = 0" in pages["claims/C4.md"]


def test_every_function_that_realises_a_claim_has_its_api_page() -> None:
    pages = api_pages.pages()
    for claim in CLAIMS:
        for name in claim.realised_by:
            module, attribute = name.split(":")
            assert f"# {attribute}".replace("_", "\\_") in pages[f"api/{module}.md"]


def test_plain_text_keeps_its_symbols() -> None:
    assert figure_pages.escaped("|P_N w|^2 of ``w (d,)`` < 1") == r"\|P\_N w\|\^2 of `w (d,)` \< 1"


def test_every_module_of_the_package_is_in_the_architecture_page() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    for layer in api_pages.LAYERS:
        assert f"## {layer}" in text
