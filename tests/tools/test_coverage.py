"""docs/coverage.md is what `jitcore coverage` makes, and says something."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import jitcore
from jitcore.not_offered import NOT_OFFERED
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


def test_every_absent_name_is_refused_by_name():
    from jitcore.missing import MissingError, missing
    from jitcore_tools.coverage.compare import compare
    from jitcore_tools.coverage.namespaces import NAMESPACES

    absent = {row.name for space in NAMESPACES for row in compare(space)[0] if row.status == "absent"}
    assert len(absent) > 150
    for name in absent:
        error = missing("module 'jitcore'", name)
        assert isinstance(error, MissingError) and isinstance(error, NotImplementedError) and name in str(error)
    assert {name for name in NOT_OFFERED if name not in absent} == set(), "these exist by now"


@pytest.mark.parametrize(
    "ask", [lambda: jitcore.hash_tensor, lambda: jitcore.ones(1).hash_tensor, lambda: jitcore.nn.CrossMapLRN2d,
            lambda: jitcore.nn.functional.scaled_mm, lambda: jitcore.func.functionalize]
)  # fmt: skip
def test_asking_for_an_absent_name_says_so(ask):
    with pytest.raises(NotImplementedError, match="is not offered by jitcore"):
        ask()
