"""The documents link only to what exists, and name only reason codes and error types that the code has."""

import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from shared import errors
from tools.demo import picture

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "durable_local", "samples", "src", "tools", "tests", "bench")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])
LINK = re.compile(r"\]\((?!https?:)([^)\s#]*)(?:#([^)\s]+))?\)")
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
RAISED = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
REASON_CODES = {kind.code for kind in vars(errors).values() if hasattr(kind, "code")}


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_names_a_file_and_a_heading_that_exist(page):
    for path, anchor in LINK.findall(FENCED.sub("", page.read_text())):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_the_readme_is_short_and_links_to_every_document():
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 150
    linked = {path for path, _ in LINK.findall(readme)}
    assert linked >= {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}


def test_the_table_of_failures_names_only_codes_and_errors_that_exist():
    table = (ROOT / "docs" / "operations.md").read_text().partition("\n## What each failure looks like\n")[2]
    table = table.partition("\n## ")[0]
    names = set(re.findall(r"`([A-Z]\w+)`", table))
    codes = {name for name in names if name.isupper()}
    assert codes == REASON_CODES
    sources = "".join(module.read_text() for module in (ROOT / "src").rglob("*.py"))
    # ExecutionLost is an error type without a class: only the reconciler writes it.
    assert {name for name in names - codes - RAISED if f'"{name}"' not in sources} == set()
    assert {"OrderInProgress", "EnricherUnavailable", "ExecutionLost"} <= names


def test_the_table_of_parameters_has_each_parameter_of_the_template_with_its_default(template):
    section = (ROOT / "docs" / "deployment.md").read_text().partition("\n## Parameters\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", section, re.MULTILINE))
    assert rows == {
        name: f"`{parameter['Default']}`" if parameter["Default"] != "" else "empty"
        for name, parameter in template["Parameters"].items()
    }


def test_every_make_target_in_the_documents_for_users_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    texts = [page.read_text() for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))]
    named = {name for text in texts for name in re.findall(r"(?:`|^```sh\n)make ([a-z]+)", text, re.MULTILINE)}
    assert {"demo", "test", "up", "down"} <= named <= targets


def test_a_picture_of_the_demo_loads_nothing_from_the_network():
    console = Console(record=True, file=StringIO(), highlight=False)
    console.print("CDNOW-000007", style="bold")
    for svg in (picture(console), (ROOT / "docs" / "demo.svg").read_text()):
        assert "CDNOW-000007" in svg
        assert re.findall(r"url\((?!#)|(?:href|src)\s*[=:]", svg) == []
