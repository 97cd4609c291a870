"""A summary of made sources, shared by the report's tests."""

import pytest
from made_report import make_evidence

from corpus.report.collect import Evidence, collect
from corpus.report.summary import Summary


@pytest.fixture(scope="session")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return make_evidence(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="session")
def summary(evidence: Evidence) -> Summary:
    return collect(evidence)
