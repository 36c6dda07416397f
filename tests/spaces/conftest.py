"""A Space as a visitor meets it: its own process on this machine, and Debian's chromium to visit it with."""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from tests.launching import Process, free_port


ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium")
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A camera and a microphone that need no hardware and no permission.
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]
DEVICES = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
    },
}
START_SECONDS = 180
# Bounds on what hangs, not measurements: the machine may have other work.
PAGE_SECONDS = 120
expect.set_options(timeout=1000 * PAGE_SECONDS)


@dataclass
class Space:
    """
    A running Space.

    Args:
        url (`str`): Its address.
        process ([`Process`]): Its process.
        log (`Path`): What it printed.
    """

    url: str
    process: Process
    log: Path

    def kill(self) -> None:
        """Ends it as a machine that goes away would: at once and without a word to it."""
        self.process.kill()
        self.process.wait()


def start_space(folder: Path, home: Path, environment: dict[str, str]) -> Space:
    """
    Starts a Space in a process of its own.

    Args:
        folder (`Path`): Its folder.
        home (`Path`): What it takes for its home, with what it printed (`log.txt`) and its temporary files.
        environment (`dict[str, str]`): Its environment beside.
    """
    (home / "tmp").mkdir(parents=True, exist_ok=True)
    log = home / "log.txt"
    told = {"GRADIO_SERVER_PORT": free_port()} | environment
    told |= {"HOME": str(home), "TMPDIR": str(home / "tmp"), "GRADIO_SERVER_NAME": "127.0.0.1"}
    with log.open("ab") as output:
        # As on the Hub: the folder of the Space is the root, and nothing beside it is there to import.
        process = Process("app.py", folder=folder, environment=told, stdout=output, stderr=output)
    space = Space(f"http://127.0.0.1:{told['GRADIO_SERVER_PORT']}", process, log)
    try:
        _wait_until_it_answers(space)
    except BaseException:
        space.kill()
        raise
    return space


@pytest.fixture(scope="module", name="start_space")
def starts_spaces() -> Callable[..., Space]:
    """
    Starts a Space, in a process and a folder of its own: `start_space("demo", home)`.

    `home` is a folder that is its home and takes its temporary files; further named arguments are environment
    variables. Started again in the same `home`, it finds what it left there, and with the `GRADIO_SERVER_PORT` it had
    it is found at the same address. All are ended after the module.
    """
    started = []

    def start(name: str, home: Path, **environment: str) -> Space:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("HF_", "GRADIO_", "SPACE", "PYTHON", "PYTEST_"))
            and not key.lower().endswith("proxy")
        }
        told = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        started.append(start_space(ROOT / "spaces" / name, home, kept | told | environment))
        return started[-1]

    yield start
    for space in started:
        space.kill()


def _wait_until_it_answers(space: Space) -> None:
    direct = build_opener(ProxyHandler({}))
    # A bound on a Space that hangs, not a measurement.
    last = time.monotonic() + START_SECONDS
    while True:
        try:
            # What a Space behind a login tells too.
            with direct.open(f"{space.url}/gradio_api/app_id", timeout=10):
                return
        except (URLError, ConnectionError, TimeoutError) as error:
            ended = space.process.poll() is not None
            if ended or time.monotonic() > last:
                said = space.log.read_text(errors="replace")[-4000:]
                raise AssertionError(f"the Space {'ended' if ended else 'does not answer'}:\n{said}") from error
        time.sleep(0.1)


@pytest.fixture(scope="module")
def browser() -> Browser:
    """
    Chromium. Tests that use it are skipped where there is none.

    It lasts a module and no longer: as long as it is there, nothing else can use asyncio in this process.
    """
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


# Gradio aborts its own requests when a page is left, and reports one that was on its way if the next page is slow to
# come: no fault of the page.
LEAVING = """addEventListener("beforeunload", () => {
  const report = console.error;
  console.error = (...said) => /signal is aborted|Connection errored out/.test(said) || report(...said);
});"""


@dataclass
class Visits:
    """
    Opens pages of a Space, each for a visitor of their own, and notes whatever a visit should not bring about.

    Args:
        browser ([`Browser`]): The browser.
        complaints (`list[str]`): Errors on the console, exceptions on a page, requests to other machines. A test that
            provokes one removes it; what is left fails the test.
        contexts (`list[BrowserContext]`): One for each visitor.
    """

    browser: Browser
    complaints: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    def __call__(self, url: str, device: str = "desktop", dark: bool = False, **context: object) -> Page:
        """
        A visitor opens a page.

        Args:
            url (`str`): The page.
            device (`str`, *optional*, defaults to `"desktop"`): Or `"phone"`.
            dark (`bool`, *optional*, defaults to `False`): Whether they prefer dark pages.
            **context: Further options of [`Browser.new_context`], such as `reduced_motion`.
        """
        scheme = "dark" if dark else "light"
        visitor = self.browser.new_context(**DEVICES[device], color_scheme=scheme, locale="en-US", **context)
        visitor.set_default_timeout(1000 * PAGE_SECONDS)
        self.contexts.append(visitor)
        home = urlsplit(url).netloc

        def stay_here(route: Route) -> None:
            if urlsplit(route.request.url).netloc == home:
                route.continue_()
            else:
                self.complaints.append(f"request to another machine: {route.request.url}")
                route.abort()

        visitor.route(lambda address: address.startswith("http"), stay_here)
        visitor.add_init_script(LEAVING)
        page = visitor.new_page()
        page.on("console", lambda message: message.type == "error" and self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(url)
        return page


@pytest.fixture
def visit(browser) -> Visits:
    """A visitor's browser: `page = visit(space.url, "phone", dark=True)`. Fails a test that leaves complaints."""
    visits = Visits(browser)
    yield visits
    for visitor in visits.contexts:
        visitor.close()
    assert not visits.complaints
