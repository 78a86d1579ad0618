"""The page is whole, loads nothing, and no name can become markup."""

import base64
import configparser
import hashlib
import re
from pathlib import Path

import pytest

import latentscale as ls

from . import pages
from .conftest import HOSTILE, IMAGE

TAGS = """
    html head meta title style body a nav p ol ul li main header h1 h2 h3 dl div dt dd section table thead tbody tr th
    td span small figure img figcaption strong pre code script math mrow mi mo mn msub msup msubsup mfrac mover mspace
    caption br
"""
ATTRIBUTES = """
    lang charset http-equiv content name class id href aria-label aria-labelledby tabindex role scope data-v src alt
    width height display mathvariant stretchy
"""
SECTIONS = "overview data the-model summary estimates scaling tests checks families predictions reproducibility"


@pytest.fixture(scope="module")
def hostile(hostile_page):
    text = hostile_page.read_text(encoding="utf-8")
    return text, pages.Page(text)


def test_sections_and_contents(plain_page):
    page = pages.Page(plain_page.read_text(encoding="utf-8"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert [key for key in SECTIONS.split() if key not in ids] == []
    targets = [attributes["href"].removeprefix("#") for attributes in page.of("a")]
    assert [target for target in targets if target not in ids] == []
    assert page.open == []
    assert len(page.of("h1")) == 1
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.of("meta")


def test_only_known_tags_and_attributes_whatever_the_names(hostile):
    _, page = hostile
    assert {tag for tag, _ in page.tags} <= set(TAGS.split())
    assert {name for _, attributes in page.tags for name in attributes} <= set(ATTRIBUTES.split())
    assert len(page.of("script")) == len(page.of("style")) == len(page.of("title")) == 1


def test_the_names_are_shown_as_they_are(hostile):
    _, page = hostile
    shown = "".join(text for tag, texts in page.texts.items() if tag not in ("script", "style") for text in texts)
    for name in (*HOSTILE.values(), IMAGE):
        assert name in shown, name


def test_nothing_comes_from_outside(hostile, plain_page):
    for text, page in (hostile, (plain_page.read_text(encoding="utf-8"),) * 2):
        page = page if isinstance(page, pages.Page) else pages.Page(page)
        assert all(attributes["href"].startswith("#") for attributes in page.of("a"))
        assert all(attributes["src"].startswith("data:image/png;base64,") for attributes in page.of("img"))
        assert not page.of("link")
        styles = "".join(page.texts["style"])
        assert "url(" not in styles
        assert "@import" not in styles
        allowed = text.count("http-equiv") + text.count("http://example.org/")  # the latter is part of a name
        assert len(re.findall("http", text)) == allowed


def test_the_policy_allows_the_pages_own_script_and_style_alone(hostile):
    _, page = hostile
    (policy,) = [a["content"] for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag in ("script", "style"):
        digest = hashlib.sha256("".join(page.texts[tag]).encode("utf-8")).digest()
        assert rules[f"{tag}-src"] == f"'sha256-{base64.b64encode(digest).decode()}'"


def test_pictures_have_words(hostile):
    _, page = hostile
    images = page.of("img")
    assert len(images) >= 8
    for attributes in images:
        assert len(attributes["alt"]) > 20
        assert base64.b64decode(attributes["src"].split(",")[1]).startswith(b"\x89PNG")
        assert int(attributes["width"]) > 200


def test_tables_have_heads_and_names(plain_page):
    page = pages.Page(plain_page.read_text(encoding="utf-8"))
    sortable = [attributes for attributes in page.of("table") if attributes["class"] == "sortable"]
    assert len(sortable) >= 12
    for attributes in sortable:
        rows = page.tables[attributes["id"]]
        assert len({len(row) for row in rows}) == 1, attributes["id"]


@pytest.mark.slow
def test_the_same_fit_gives_the_same_file(plain_fit, plain_page, tmp_path):
    again = plain_fit.report(tmp_path / "again.html", size=200)
    assert again.read_bytes() == plain_page.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.html"]


def test_title_and_question_are_the_users(plain_fit, tmp_path, monkeypatch):
    monkeypatch.setattr("latentscale.report.html.pictures", lambda *arguments: ())
    path = plain_fit.report(tmp_path / "report.html", title="A <b>title</b>", question=IMAGE, size=200)
    page = pages.Page(path.read_text(encoding="utf-8"))
    assert page.texts["title"] == page.texts["h1"] == ["A <b>title</b>"]
    assert IMAGE in page.texts["p"]
    assert not page.of("b")
    assert not page.of("img")


def test_options_that_make_no_sense(plain_fit, tmp_path):
    for options, words in (({"alpha": 1.0}, "alpha"), ({"size": 3}, "size")):
        with pytest.raises(ls.DataError, match=words):
            plain_fit.report(tmp_path / "report.html", **options)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        plain_fit.report(tmp_path / "nowhere" / "report.html", size=200)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_size_on_the_shipped_table(leaderboard, tmp_path):
    """benchmarks/test_speed.py measures the time."""
    anchors = {"math": "math_lvl_5", "instruction": "ifeval", "commonsense": "hellaswag", "reasoning": "bbh"}
    fit = ls.LatentSkillModel(leaderboard, skills=ls.Anchored(anchors)).fit(integration="laplace", starts=1)
    path = fit.report(tmp_path / "report.html")
    assert path.stat().st_size < 3e6
    page = pages.Page(path.read_text(encoding="utf-8"))
    assert len(page.tables["table-predictions"]) == 1 + 184
    assert len(page.tables["table-dropped"]) == 1 + 13


def test_the_templates_are_packaged():
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[2] / "setup.cfg", encoding="utf-8")
    assert setup["options.package_data"]["latentscale.report"].split() == ["templates/*"]
    used = {"report.html", "macros.html", "formulas.html", "report.css", "report.js"}
    assert {path.name for path in (Path(ls.__file__).parent / "report" / "templates").iterdir()} == used
