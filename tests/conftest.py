"""Options of the test run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from compiler.pipeline import verifying


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="rewrite the expectations under tests/cases")


@pytest.fixture
def bless(request: pytest.FixtureRequest) -> bool:
    """Whether expectations are to be rewritten instead of compared."""
    return bool(request.config.getoption("--bless"))


@pytest.fixture(scope="session", autouse=True)
def _verified() -> Iterator[None]:
    """Every spec that a test compiles is verified between the phases."""
    with verifying():
        yield
