"""docs/coverage.md is what `jitcore coverage` makes, and says something."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from jitcore_tools.main import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "coverage.md"


@pytest.fixture(scope="module")
def page():
    result = CliRunner().invoke(main, ["coverage"])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_page_is_up_to_date(page):
    assert PAGE.read_text() == page, "run: jitcore coverage -o docs/coverage.md"


def test_known_names_are_where_they_belong(page):
    totals = re.search(r"\| together \| (\d+) \| (\d+) \| (\d+) \|", page)
    full, _, absent = (int(n) for n in totals.groups())
    assert full > 1600 and absent < 500
    section = page.split("## torch.linalg\n")[1].split("\n## ")[0]
    assert "`svd`" in section.split("Full: ")[1]
