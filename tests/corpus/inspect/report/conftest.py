"""A summary of made sources, shared by the report's tests."""

import pytest

from corpus.inspect.report.collect import Evidence, collect
from corpus.inspect.report.summary import Summary
from tests.made_report import make_evidence


@pytest.fixture(scope="session")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return make_evidence(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="session")
def summary(evidence: Evidence) -> Summary:
    return collect(evidence)
