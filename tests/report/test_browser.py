"""The page in a real browser: no error, no request, no foreign script, tables that sort, a layout that fits."""

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
WIDTHS = {"desktop": 1440, "phone": 390}


def absent(what):
    """In CI this test must run; elsewhere it may be skipped."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and CI is set")
    pytest.skip(f"{what} is missing: install the Debian package chromium and the extra 'test'")


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        absent("Chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        absent("playwright")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Open a file, and collect what it does that it should not."""
    opened = []

    def visit(path, width=1440, **options):
        page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        opened.append(page)
        found = []
        page.on("console", lambda message: found.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: found.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (found.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: found.append(f"request: {request.url}"))
        page.goto(path.as_uri())
        page.wait_for_load_state("networkidle")
        # the page itself, and the images that it holds
        own = f"request: {path.as_uri()}"
        return page, lambda: [one for one in found if one != own and not one.startswith("request: data:image/png")]

    yield visit
    for page in opened:
        page.close()


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("which", ["plain_page", "hostile_page"])
def test_quiet_and_within_the_window(visit, request, which, width):
    page, found = visit(request.getfixturevalue(which), width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sizes = page.evaluate("Array.from(document.images, image => image.naturalWidth)")
    assert len(sizes) >= 8
    assert min(sizes) > 200
    # what a careless reader does to hostile names
    for selector in ("tbody th", "figcaption", "thead th"):
        page.locator(selector).first.hover()
    assert found() == []


def values(page, table, column):
    script = "([id, n]) => Array.from(document.getElementById(id).tBodies[0].rows, row => row.cells[n].dataset.v)"
    return page.evaluate(script, [table, column])


def test_tables_sort_from_the_keyboard(visit, plain_page):
    page, found = visit(plain_page)
    before = values(page, "table-parameters", 1)
    numbers = sorted(map(float, before))
    assert list(map(float, before)) != numbers
    head = page.locator("#table-parameters thead th").nth(1)
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert list(map(float, values(page, "table-parameters", 1))) == numbers
    page.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "descending"
    assert list(map(float, values(page, "table-parameters", 1))) == numbers[::-1]
    other = page.locator("#table-parameters thead th").nth(0)
    other.locator("button").click()
    assert head.get_attribute("aria-sort") is None
    names = page.locator("#table-parameters tbody th").all_text_contents()
    assert names[0].startswith("corr[")
    assert found() == []


def test_missing_numbers_stay_last(visit, plain_page):
    page, _ = visit(plain_page)
    page.evaluate("document.getElementById('table-slopes').tBodies[0].rows[0].cells[1].dataset.v = ''")
    known = sorted(map(float, values(page, "table-slopes", 1)[1:]))
    for order in (known, known[::-1]):
        page.locator("#table-slopes thead th button").nth(1).click()
        shown = values(page, "table-slopes", 1)
        assert [float(value) for value in shown[:-1]] == order
        assert shown[-1] == ""


def test_the_policy_stops_a_script_that_slipped_through(visit, plain_page, tmp_path):
    bad = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
    bad += "<img src='http://127.0.0.1:9/x.png'>"
    text = plain_page.read_text(encoding="utf-8").replace("<main", bad + "<main", 1)
    path = tmp_path / "changed.html"
    path.write_text(text, encoding="utf-8")
    page, found = visit(path)
    assert page.title().startswith("Latent skills")
    assert any("Content Security Policy" in one for one in found())


def test_print_and_dark(visit, plain_page, tmp_path):
    page, found = visit(plain_page, color_scheme="dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(media="print", color_scheme="light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    page.pdf(path=tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    # nothing scrolls on paper
    boxes = page.evaluate("Array.from(document.querySelectorAll('.scroll'), box => getComputedStyle(box).overflow)")
    assert set(boxes) == {"visible"}
    assert found() == []
