"""The index leads to every page, every page asks its reader's question, promises name their tests.

Method: links are compared with the files; examples and numbers of the explanation pages are taken
from them and held against the code.
"""

import contextlib
import io
import re

import pytest
from page_examples import DOCS

from scaler.config.schema import Fleet, Publish
from scaler.targets.aws import AwsSettings

INDEX = (DOCS / "README.md").read_text()
PAGES = sorted(page for page in DOCS.rglob("*.md") if page.name != "README.md")
PROMISES = (DOCS / "explanation/what-it-promises.md").read_text()
MISSING = (DOCS / "explanation/missing-is-not-zero.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_index_leads_to_every_page(page):
    assert re.search(rf"\]\({re.escape(str(page.relative_to(DOCS)))}[#)]", INDEX)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.parent.name in ("howto", "explanation")],
    ids=lambda page: page.name,
)
def test_a_page_names_its_reader_s_question_in_the_title(page):
    title = page.read_text().splitlines()[0]

    assert title.startswith("# ")
    assert title.endswith("?")


def test_each_promise_names_tests_that_there_are():
    table = PROMISES.partition("## What it promises\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (?!promise|---)(.+?) \| (.+) \|$", table, re.MULTILINE)

    assert len(rows) >= 10
    for promise, tests in rows:
        named = re.findall(r"`(tests/[^`]+)`", tests)
        assert named, promise
        assert [name for name in named if not (DOCS.parent / name).exists()] == []


def test_the_numbers_among_the_limits_are_those_of_the_code():
    hour = (DOCS / "explanation/how-it-decides.md").read_text()
    (jobs, late) = re.findall(r"^jobs +(\d+), (\d+) of them", hour, re.MULTILINE)[0]

    assert f"{late} of {jobs}\njobs wait longer" in PROMISES
    assert f"longer than {AwsSettings().write_deadline_s:g} s is\nabandoned" in PROMISES
    assert f"up to {Publish().buffer:,} data wait" in PROMISES
    assert Fleet.model_fields["scale_in"].default == "hold"


def test_the_example_of_missing_prints_what_the_page_shows():
    (code,) = re.findall(r"^```python\n(.*?)^```", MISSING, re.DOTALL | re.MULTILINE)
    (shown,) = re.findall(r"^```text\n(.*?)^```", MISSING, re.DOTALL | re.MULTILINE)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "missing-is-not-zero.md", "exec"), {})

    assert printed.getvalue() == shown
