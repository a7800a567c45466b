"""The built pages in a real headless browser, without a network: formulas typeset, pictures loaded, nothing too wide.

Needs `make docs` first, and the extra browser.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

webdriver = pytest.importorskip("selenium.webdriver")

SITE = Path(__file__).parents[2] / "docs" / "_build" / "html"
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="no chromium"),
    pytest.mark.skipif(not (SITE / "index.html").exists(), reason="the pages are not built: make docs"),
    pytest.mark.filterwarnings("ignore"),
]
#: every address but the file's own is unreachable
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--window-size=1300,1000",
]
#: what a reader would stumble over, once MathJax has finished
_LOOK = """
const done = arguments[arguments.length - 1];
const math = [...document.querySelectorAll('.math')];
const ready = math.length ? window.MathJax.startup.promise : Promise.resolve();
ready.then(() => done({
  formulas: math.length,
  typeset: document.querySelectorAll('.math mjx-container').length,
  wrong: [...document.querySelectorAll('[data-mjx-error]')].map(e => e.getAttribute('data-mjx-error')),
  broken: [...document.images].filter(e => e.complete && !e.naturalWidth && e.loading !== 'lazy').map(e => e.src),
  unnamed: [...document.querySelectorAll('article img')].filter(e => !e.alt).map(e => e.src),
}));
"""
_WIDE = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
#: pixels of a window: phone, tablet, a desk's screens; a layout changes its columns between them
WIDTHS = (500, 800, 1000, 1200, 1400, 1700)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER)) as driver:
        driver.set_script_timeout(60)
        yield driver


def test_every_page_reads_without_a_network(browser: object) -> None:
    pages = [page for page in sorted(SITE.rglob("*.html")) if page.name not in {"genindex.html", "search.html"}]
    assert len(pages) > 20
    formulas = 0
    for page in pages:
        browser.get(page.as_uri())  # type: ignore[attr-defined]
        seen = browser.execute_async_script(_LOOK)  # type: ignore[attr-defined]
        name = page.relative_to(SITE)
        assert seen["typeset"] == seen["formulas"], f"{name}: {seen}"
        assert not seen["wrong"], f"{name}: {seen['wrong']}"
        assert not seen["broken"], f"{name}: {seen['broken']}"
        assert not seen["unnamed"], f"{name}: {seen['unnamed']}"
        formulas += seen["formulas"]
    assert formulas > 100


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_is_wider_than_its_window(browser: object, width: int) -> None:
    """Pages made from docstrings are alike: one of them."""
    pages = [page for page in sorted(SITE.rglob("*.html")) if "api" not in page.parts]
    browser.set_window_size(width, 1000)  # type: ignore[attr-defined]
    for page in (*pages, SITE / "_generated" / "api" / "numerics.sgd.html"):
        browser.get(page.as_uri())  # type: ignore[attr-defined]
        over = browser.execute_script(_WIDE)  # type: ignore[attr-defined]
        assert over <= 0, f"{page.relative_to(SITE)} is {over} pixels too wide in a window of {width}"
