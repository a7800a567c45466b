"""The explorer in a real headless browser: curves follow a slider, the button runs SGD.

Needs the extras app and browser.
"""

import importlib.util
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

webdriver = pytest.importorskip("selenium.webdriver")

ROOT = Path(__file__).parents[2]
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    # not imported here: where it is, transformers takes the process for a notebook
    pytest.mark.skipif(importlib.util.find_spec("marimo") is None, reason="no marimo"),
    pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="no chromium"),
    pytest.mark.filterwarnings("ignore"),
]
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1500,1000",
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "marimo",
        "-q",
        "run",
        "paper_figs/explorer.py",
        "--headless",
        "--port",
        str(port),
        "--no-token",
    ]
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        yield _ready(f"http://127.0.0.1:{port}")
        server.terminate()


def _ready(url: str) -> str:
    for _ in range(240):
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return url
        except OSError:
            time.sleep(0.25)
    raise TimeoutError(url)


@pytest.fixture(scope="module")
def browser(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER)) as driver:
        driver.get(address)
        _until(driver, lambda text: "minimum-norm" in text)
        yield driver


#: everything of interest may lie in a shadow root
_FIND = """
const walk = (node, test) => { for (const child of node.querySelectorAll('*')) { if (test(child)) return child;
  if (child.shadowRoot) { const found = walk(child.shadowRoot, test); if (found) return found; } } return null; };
"""


def _sentence(driver: object) -> str:
    script = _FIND + "const found = walk(document, e => e.id === 'sentence'); return found ? found.textContent : '';"
    return str(driver.execute_script(script))  # type: ignore[attr-defined]


def _until(driver: object, holds: object, seconds: float = 90.0) -> str:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        text = _sentence(driver)
        if holds(text):  # type: ignore[operator]
            return text
        time.sleep(0.01)
    raise TimeoutError(f"the page still says: {_sentence(driver)!r}")


def _thumb(driver: object, number: int) -> object:
    script = _FIND + (
        "const all = []; const gather = node => { for (const child of node.querySelectorAll('*')) {"
        "if (child.getAttribute('role') === 'slider') all.push(child);"
        "if (child.shadowRoot) gather(child.shadowRoot); } }; gather(document); return all[arguments[0]];"
    )
    return driver.execute_script(script, number)  # type: ignore[attr-defined]


def _pictures(driver: object) -> list[str]:
    """Alternative texts of the pictures, in their order on the page."""
    script = (
        "const all = []; const gather = node => { for (const child of node.querySelectorAll('*')) {"
        "if (child.matches('svg[role=img]')) all.push(child.getAttribute('aria-label'));"
        "if (child.shadowRoot) gather(child.shadowRoot); } }; gather(document); return all;"
    )
    return list(driver.execute_script(script))  # type: ignore[attr-defined]


def test_the_page_shows_four_pictures_and_no_error(browser: object) -> None:
    end = time.perf_counter() + 30
    while len(_pictures(browser)) < 4 and time.perf_counter() < end:
        time.sleep(0.05)
    assert [text.split()[0] for text in _pictures(browser)] == ["rho", "train", "final", "train"]
    assert "Traceback" not in browser.page_source  # type: ignore[attr-defined]


@pytest.mark.parametrize(("slider", "says"), [(2, "at depth 2.25"), (8, "from 35 degrees")])
def test_the_landscape_follows_the_depth_and_turns(browser: object, slider: int, says: str) -> None:
    _thumb(browser, slider).send_keys("\ue014")  # type: ignore[attr-defined]  # arrow right
    end = time.perf_counter() + 30
    while says not in _pictures(browser)[-1]:
        assert time.perf_counter() < end, _pictures(browser)
        time.sleep(0.05)


#: milliseconds from a key press to new text, taken by the page itself: the driver's own calls are slow
_WATCH = """
const find = () => walk(document, e => e.id === 'sentence'), first = find();
const text = () => { const now = first.isConnected ? first : find(); return now ? now.textContent : ''; };
window.waits = []; window.addEventListener('keydown', () => { const began = performance.now(), before = text();
  const look = () => { const now = text();
    if (now && now !== before) window.waits.push(performance.now() - began); else setTimeout(look, 2); };
  look(); }, true);
"""


def test_curves_follow_a_slider(browser: object) -> None:
    browser.execute_script(_FIND + _WATCH)  # type: ignore[attr-defined]
    for _ in range(6):
        before = _sentence(browser)
        _thumb(browser, 3).send_keys("\ue012")  # type: ignore[attr-defined]  # arrow left: a smaller learning rate
        _until(browser, lambda text, before=before: text and text != before)
        time.sleep(0.1)
    waits = sorted(browser.execute_script("return window.waits;"))  # type: ignore[attr-defined]
    assert len(waits) == 6
    print(f"from key press to new curves: median {waits[3]:.0f} ms, of {[round(t) for t in waits]}")
    assert waits[0] < 2000.0  # a shared machine; the law itself is timed in test_explorer_law


def test_the_button_runs_sgd_on_top(browser: object) -> None:
    button = browser.execute_script(
        _FIND + "return walk(document, e => e.tagName === 'BUTTON' && e.textContent.includes('Run SGD'));"
    )  # type: ignore[attr-defined]
    button.click()
    text = _until(browser, lambda text: "SGD: 16 runs" in text)
    assert "standard errors" in text
