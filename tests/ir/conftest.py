"""`pytest tests/ir --update` rewrites the expected texts in tests/ir/cases; read what changed before committing it."""

import pytest


def pytest_addoption(parser):
    parser.addoption("--update", action="store_true", help="rewrite the expected IR texts in tests/ir/cases")


@pytest.fixture
def update(request):
    # The option exists only where this folder is named on the command line.
    return request.config.getoption("--update", default=False)
