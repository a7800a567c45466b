"""The report is read by a real browser, without network: formulas and figures have a size, links lead somewhere."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from theory.claims import CLAIMS
from verify import report
from verify.harness import plan
from verify.registry import EXPERIMENTS

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "chromium-headless-shell")

#: measured by the page itself in a copy of it; the report has no script
PROBE = """
<pre id="probe"></pre><script>
addEventListener("load", () => {
  const images = [...document.images].map(i => ({alt: i.alt, complete: i.complete, width: i.naturalWidth}));
  const links = [...document.querySelectorAll('a[href^="#"]')].map(a => !!document.getElementById(a.hash.slice(1)));
  document.querySelectorAll("details").forEach(d => d.open = true);
  const over = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  document.getElementById("probe").textContent = JSON.stringify({
    title: document.title, images, links, over, rows: document.querySelectorAll("#scorecard tr").length,
    requests: performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith("data:")),
    headline: document.querySelector("h1").textContent, commands: document.querySelectorAll("details code").length,
  });
});
</script>
"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    some = [e for e in EXPERIMENTS if e.key in ("C5:flattest point", "C9:limit", "C2:linear, exact", "C15:landscape")]
    todo = plan(some, everything=EXPERIMENTS, seed=0)
    folder = tmp_path_factory.mktemp("report")
    report.write(folder, list(todo.run()), todo.budget, seed=0, seconds=1.0)
    return folder


@pytest.fixture(scope="module")
def seen(browser: str, folder: Path) -> dict[str, object]:
    """What the browser says about the page."""
    text = (folder / "report.html").read_text()
    probed = folder / "probed.html"
    probed.write_text(text.replace("</body>", PROBE + "</body>"))
    command = [
        browser,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=1200,900",
        "--virtual-time-budget=5000",
    ]
    profile = f"--user-data-dir={folder / 'profile'}"
    done = subprocess.run(
        [*command, profile, "--dump-dom", probed.as_uri()], capture_output=True, text=True, timeout=120
    )
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-500:]
    return json.loads(found[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))


def test_browser_shows_every_formula_and_figure(seen: dict) -> None:
    assert len(seen["images"]) >= 8
    for image in seen["images"]:
        assert image["complete"], image
        assert image["width"] > 10, image
        assert image["alt"], image


def test_browser_needs_no_network(seen: dict) -> None:
    assert seen["requests"] == []


def test_browser_finds_the_scorecard_and_its_links(seen: dict) -> None:
    assert seen["headline"] == "4 of 4 claims pass"
    assert seen["rows"] == 5
    assert seen["links"]
    assert all(seen["links"])
    assert seen["commands"] > 0


def test_page_does_not_scroll_sideways(seen: dict) -> None:
    assert seen["over"] <= 0


def test_page_loads_nothing(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    assert "<script" not in text
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert "http://" not in re.sub(r'src="data:[^"]*"', "", text)


def test_every_claim_with_a_published_figure_shows_it(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    tried = {key.split(":")[0] for key in ("C5:flattest point", "C9:limit", "C2:linear, exact", "C15:landscape")}
    stems = [claim.figure for claim in CLAIMS if claim.number in tried and claim.figure]
    assert len(stems) == text.count('class="figure published"') == 4


def test_json_has_budget_provenance_and_commands(folder: Path) -> None:
    content = json.loads((folder / "report.json").read_text())
    assert content["budget"]["false_alarm"] <= 1e-3
    assert content["provenance"]["libraries"]["numpy"]
    assert all(row["command"].startswith("python -m verify row") for row in content["rows"])
    assert {"predicted", "observed", "sem", "z", "margin", "verdict"} <= set(content["rows"][0]["checks"][0])


def test_a_failed_claim_is_shown_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    from numerics.radial_manifold import RadialManifold
    from verify.registry import find
    from verify.scorecard import record

    monkeypatch.setattr(RadialManifold, "selects_minimum_norm", lambda self: True)
    todo = plan([find("C5:flattest point")], everything=EXPERIMENTS, seed=0)
    rows = list(todo.run())
    page = report.page(rows, todo.budget, record(rows, todo.budget, seed=0, seconds=0.0))
    assert "0 of 1 claims pass" in page
    assert 'class="fail"' in page
