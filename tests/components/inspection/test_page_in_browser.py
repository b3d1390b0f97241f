"""The page as reviewers see it, in a real Chromium: from disk and from the server, by mouse and by keyboard.

Needs a Chromium of the machine's own (Debian: `apt-get install chromium`); nothing is downloaded.
"""

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from components.corpus.inspection_table import Inspection, read_inspections, write_inspections
from components.inspection.verdict_server import VerdictServer
from components.inspection.verdict_table import VerdictTable

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIMEOUT_MS = 30_000  # a busy machine is slow, not wrong

CODE = [
    {"path": f"src/part_{number}.py", "content": f"def f{number}():\n    return {number}\n" * 20} for number in range(8)
]
LONG = [{"path": "src/long.py", "content": "x = [" + "1, " * 600 + "]\n"}]
STUBS = [{"path": f"src/{number}.pyi", "extension": ".pyi", "content": f"v{number}: int\n"} for number in range(3)]
NOTES = [{"path": "read me.md", "language": "markdown", "extension": ".md", "content": "# Read me\n\nText.\n"}]
FOREIGN = [{"path": "a.adb", "language": "ada", "extension": ".adb", "content": "begin null; end;\n"}]
ALL = [*CODE, *LONG, *STUBS, *NOTES, *FOREIGN]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed; on Debian: apt-get install chromium")
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program)
        yield chromium
        chromium.close()


@dataclass
class Watched:
    """A reviewer's browser, and all that the page did behind his back."""

    context: BrowserContext
    page: Page
    requests: list[str] = field(default_factory=list[str])
    complaints: list[str] = field(default_factory=list[str])

    def go(self, address: str) -> Page:
        """Open the page and wait for its files."""
        self.page.goto(address)
        expect(self.page.locator("#files article").first).to_be_visible()
        return self.page


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    """A fresh browser profile; what left the page or was complained of fails the test."""
    context = browser.new_context(viewport={"width": 1360, "height": 900}, accept_downloads=True)
    context.set_default_timeout(TIMEOUT_MS)
    one = Watched(context, context.new_page())
    context.on("request", lambda request: one.requests.append(request.url))
    context.on("page", lambda page: one.complaints.append(f"opened {page.url}"))
    one.page.on("console", lambda message: one.complaints.append(f"{message.type}: {message.text}"))
    one.page.on("pageerror", lambda error: one.complaints.append(f"error: {error}"))
    one.page.on("dialog", lambda dialog: one.complaints.append(f"dialog: {dialog.message}"))
    yield one
    assert one.complaints == []
    places = {re.sub(r"#.*", "", request) for request in one.requests}
    own = re.compile(
        r"data:,|file:///.*/pages/index\.html|blob:(null|file|http).*|http://127\.0\.0\.1:\d+/[\w-]{24}/(verdicts)?"
    )
    assert [place for place in places if not own.fullmatch(place)] == []
    context.close()


@dataclass
class Served:
    """A page, its address from disk and from a running server, and the table."""

    page: Path
    table: VerdictTable
    url: str

    @property
    def file(self) -> str:
        """The address from disk."""
        return self.page.as_uri()


@pytest.fixture
def served(page_of: Any, table_of: Any, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Call it with rows: a page of them, served."""
    servers: list[VerdictServer] = []

    def serve(rows: list[dict[str, Any]] = ALL, standing: tuple[Inspection, ...] = (), **asked: Any) -> Served:
        table = VerdictTable(tmp_path / "inspection.csv", tmp_path / "state" / "lock")
        page = page_of(table_of(rows), standing, **asked)
        write_inspections(table.path, standing)
        keys = frozenset((row.get("language", "python"), row.get("extension", ".py")) for row in rows)
        server = VerdictServer(page, table, keys, "Ada")
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        return Served(page, table, server.url)

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def title(page: Page) -> Locator:
    """Which ending is open."""
    return page.locator(".title h2")


def saved(page: Page) -> Locator:
    """What became of the last verdict."""
    return page.locator("#saved")


def test_files_are_looked_at(watched: Watched, served: Any) -> None:
    page = watched.go(served().file)
    expect(title(page)).to_have_text("python .py")
    expect(page.locator("#amount")).to_contain_text("9 files")
    expect(page.locator("#endings section").first.locator("a")).to_have_count(2)
    expect(page.locator("#progress-told")).to_have_text("0 of 3 judged, 0 % of the bytes")
    expect(page.locator("#files article")).to_have_count(9)

    first = page.locator("#files article", has_text="part_3.py")
    expect(first.locator(".line")).to_have_count(12)  # the skim
    expect(first.locator(".line").first.locator(".k")).to_have_text("def")
    first.locator(".path").click()
    expect(first.locator(".line")).to_have_count(40)
    first.locator(".path").click()
    expect(first.locator(".line")).to_have_count(12)

    long = page.locator("#files article.dropped")
    expect(long).to_have_count(1)
    expect(long.locator(".badge").first).to_have_text("✕ max_line_length 1,806 > 1,000")
    page.get_by_role("button", name="Kept 8").click()
    expect(page.locator("#files article:visible")).to_have_count(8)
    page.locator("#numbers .link", has_text="max_line_length").click()
    expect(page.locator("#files article:visible")).to_have_count(1)


def test_keys_lead_through_the_endings_and_their_files(watched: Watched, served: Any) -> None:
    page = watched.go(served().file)
    for key, told in (
        ("n", "python .pyi"),
        ("n", "markdown .md"),
        ("n", "ada .adb"),
        ("n", "ada .adb"),
        ("p", "markdown .md"),
    ):
        page.keyboard.press(key)
        expect(title(page)).to_have_text(told)
    page.keyboard.press("/")
    page.keyboard.type("pyi")
    expect(page.locator("#endings a:visible")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(title(page)).to_have_text("python .pyi")

    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator("#files article").nth(1)).to_be_focused()
    page.keyboard.press("v")  # all of the files
    page.keyboard.press("v")  # names
    expect(page.locator("#files pre:visible")).to_have_count(0)
    page.keyboard.press("Enter")
    expect(page.locator("#files pre:visible")).to_have_count(1)
    page.keyboard.press("w")
    expect(page.locator("#wrap")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()


def test_keys_pressed_before_the_files_are_unpacked_count(watched: Watched, served: Any) -> None:
    page = watched.go(served().file)
    expect(title(page)).to_have_text("python .py")
    page.evaluate("""() => {
        const press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
        ["n", "j", "j"].forEach(press);
    }""")
    expect(title(page)).to_have_text("python .pyi")
    expect(page.locator("#files article").nth(1)).to_be_focused()


def test_an_address_names_an_ending(watched: Watched, served: Any) -> None:
    page = watched.go(f"{served().file}#ada/.adb")
    expect(title(page)).to_have_text("ada .adb")
    expect(page.locator("#notes")).to_contain_text("Files of ada are dropped whatever the verdict")
    page.evaluate("location.hash = '#python/.pyi'")
    expect(title(page)).to_have_text("python .pyi")


def test_verdicts_by_key_and_mouse_are_in_the_table_and_stand_after_a_reload(watched: Watched, served: Any) -> None:
    one: Served = served()
    page = watched.go(one.url)
    expect(page.locator("#where")).to_contain_text("written to inspection.csv at once, in the name of Ada")
    expect(page.locator("#reviewer-field")).to_be_hidden()

    page.keyboard.press("c")
    page.keyboard.type("fine, all of it")
    page.keyboard.press("Enter")
    expect(page.locator("#comment")).not_to_be_focused()
    expect(saved(page)).to_have_text("Not saved yet: give a verdict.")
    page.keyboard.press("I")  # include, and on to the next
    expect(title(page)).to_have_text("python .pyi")
    page.locator("[data-verdict=exclude]").click()
    expect(saved(page)).to_contain_text("exclude by Ada, 20")
    page.keyboard.press("o")
    expect(title(page)).to_have_text("markdown .md")
    page.keyboard.press("u")
    expect(page.locator("#progress-told")).to_have_text("3 of 3 judged, 100 % of the bytes")
    page.keyboard.press("o")
    expect(saved(page)).to_have_text("All 3 endings are judged.")

    rows = {row.key: (row.verdict, row.reviewer, row.comment) for row in read_inspections(one.table.path)}
    assert rows == {
        ("python", ".py"): ("include", "Ada", "fine, all of it"),
        ("python", ".pyi"): ("exclude", "Ada", ""),
        ("markdown", ".md"): ("unsure", "Ada", ""),
    }
    page.reload()
    expect(page.locator("#progress-told")).to_contain_text("3 of 3 judged")
    page.locator("#endings a", has_text=".pyi").click()
    expect(page.locator("[data-verdict=exclude]")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#endings a.exclude .mark")).to_have_text("✕")
    page.locator("#endings a", has=page.get_by_text(".py", exact=True)).click()
    expect(page.locator("#comment")).to_have_value("fine, all of it")


def test_limits_are_changed_lifted_and_refused(watched: Watched, served: Any) -> None:
    one: Served = served()
    page = watched.go(one.url)
    page.keyboard.press("i")
    expect(saved(page)).to_contain_text("include by Ada")
    page.keyboard.press("l")
    longest = page.locator("[name=max_line_chars]")
    expect(longest).to_be_focused()
    expect(longest).to_have_attribute("placeholder", "1000")
    page.keyboard.type("2000")
    page.keyboard.press("Tab")
    expect(saved(page)).to_contain_text("include by Ada")
    page.locator("[name=xml_declaration]").select_option("off")
    expect(saved(page)).to_contain_text("include by Ada")
    [row] = _until(lambda: [r for r in read_inspections(one.table.path) if r.xml_declaration == "off"])
    assert row.max_line_chars == 2_000

    page.locator("[name=min_alphabetic_fraction]").fill("2")
    page.keyboard.press("Enter")
    expect(saved(page)).to_have_text(
        re.compile("Not saved: the verdict has min_alphabetic_fraction '2'; write off, 0 to 1")
    )
    expect(saved(page)).to_have_class("wrong")
    assert [re.sub(".*status of ", "", complaint) for complaint in watched.complaints] == ["422 (Unprocessable Entity)"]
    watched.complaints.clear()  # Chromium's own word on every answer that is no success
    page.locator("[name=min_alphabetic_fraction]").fill("")
    longest.fill("")
    page.keyboard.press("Enter")
    expect(saved(page)).to_contain_text("include by Ada")
    [row] = _until(lambda: [r for r in read_inspections(one.table.path) if r.max_line_chars is None])
    assert (row.xml_declaration, row.min_alphabetic_fraction) == ("off", None)


def test_what_others_judged_since_the_page_was_written_is_seen(watched: Watched, served: Any) -> None:
    one: Served = served()
    write_inspections(one.table.path, [Inspection("python", ".py", "unsure", "Bob", "2026-11-20", "look again")])
    page = watched.go(f"{one.url}#python/.py")
    expect(saved(page)).to_have_text("unsure by Bob, 2026-11-20")
    expect(page.locator("#comment")).to_have_value("look again")


def test_a_server_that_ended_is_told_and_nothing_is_lost(
    browser: Browser, page_of: Any, table_of: Any, tmp_path: Path
) -> None:
    """Not through `watched`: a request that fails is what the browser complains of."""
    table = VerdictTable(tmp_path / "inspection.csv", tmp_path / "lock")
    with VerdictServer(page_of(table_of(ALL)), table, frozenset({("python", ".py")}), "Ada") as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        page = browser.new_page()
        page.goto(server.url)
        expect(page.locator("#where")).to_contain_text("at once")
        server.shutdown()
    page.locator("#comment").fill("kept")
    page.locator("[data-verdict=include]").click()
    expect(saved(page)).to_have_text(re.compile("Not saved: starloom inspect does not run any more"))
    expect(page.locator("#comment")).to_have_value("kept")
    page.close()


def test_from_disk_verdicts_stay_in_the_browser_until_they_are_downloaded(
    watched: Watched, served: Any, tmp_path: Path
) -> None:
    one: Served = served(reviewer="")
    page = watched.go(one.file)
    page.keyboard.press("e")
    expect(saved(page)).to_have_text("Not saved: write your name into the field Reviewer first.")
    page.locator("#reviewer").fill("Grace, H.")
    page.locator("#comment").fill('"quoted", and more')
    page.locator("[data-verdict=exclude]").click()
    expect(saved(page)).to_contain_text("exclude by Grace, H., 20")

    page.reload()
    expect(page.locator("#progress-told")).to_contain_text("1 of 3 judged")
    expect(page.locator("#reviewer")).to_have_value("Grace, H.")
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "inspection-grace-h-.csv"
    download.value.save_as(tmp_path / "grace.csv")
    [row] = one.table.take(tmp_path / "grace.csv").taken
    assert (row.key, row.verdict, row.reviewer, row.comment) == (
        ("python", ".py"), "exclude", "Grace, H.", '"quoted", and more',
    )  # fmt: skip


def test_a_later_word_of_the_table_goes_before_what_the_browser_kept(
    watched: Watched, served: Any, page_of: Any, table_of: Any
) -> None:
    one: Served = served()
    page = watched.go(one.file)
    page.keyboard.press("e")
    expect(saved(page)).to_contain_text("exclude by Ada")
    page_of(table_of(ALL), [Inspection("python", ".py", "include", "Bob", "2999-01-01")])
    page.reload()
    page.locator("#endings a", has=page.get_by_text(".py", exact=True)).click()
    expect(saved(page)).to_have_text("include by Bob, 2999-01-01")


@pytest.mark.parametrize("place", ["file", "url"])
def test_hostile_files_are_text(watched: Watched, served: Any, hostile_files: Any, place: str) -> None:
    comment = "</script><script>window.ran=[6]</script><img src=x onerror=window.ran=[6]>"
    one: Served = served(hostile_files, (Inspection("html", ".html", "unsure", "<b>B</b>", "2026-11-20", comment),))
    page = watched.go(getattr(one, place))
    for ending in page.locator("#endings a").all():
        ending.click()
        page.locator("[data-view=full]").click()
        for card in page.locator("#files article").all():
            card.scroll_into_view_if_needed()
            expect(card.locator(".line").first).to_be_attached()
            card.locator("header").hover()
        assert page.locator("#files :is(script, img, iframe, svg, link, meta, style)").count() == 0
    page.locator("#endings a", has_text=".html").click()
    expect(page.locator("#files article", has_text="breaks-out.html").locator("pre")).to_contain_text(
        "</script></pre><img src=x"
    )
    expect(page.locator("#files article", has_text="⟦U+202E⟧gnp.html").locator(".facts")).to_contain_text(
        "<svg onload="
    )
    expect(page.locator("#comment")).to_have_value(comment)
    expect(saved(page)).to_have_text("unsure by <b>B</b>, 2026-11-20")
    page.wait_for_timeout(300)
    assert page.evaluate("window.ran === undefined")
    assert "\u202e" not in page.locator("body").inner_text()


def test_on_a_narrow_screen_nothing_hangs_over(browser: Browser, served: Any) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme="dark")
    page = context.new_page()
    page.goto(served().url)
    expect(page.locator("#files article .line").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(page.locator("#side")).to_be_hidden()
    page.locator("#open-list").click()
    expect(page.locator("#endings a", has_text=".pyi")).to_be_visible()
    page.locator("#endings a", has_text=".pyi").click()
    expect(title(page)).to_have_text("python .pyi")
    expect(page.locator("#side")).to_be_hidden()
    page.locator("[data-verdict=include]").click()
    expect(saved(page)).to_contain_text("include by Ada")
    context.close()


def _until(found: Callable[[], list[Inspection]]) -> list[Inspection]:
    """What `found` gives as soon as it gives anything; the table is written before the page says so."""
    for _ in range(200):
        if rows := found():
            return rows
        threading.Event().wait(0.05)
    return []
