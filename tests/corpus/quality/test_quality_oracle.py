"""Verdicts compared with datatrove's Gopher filters, which published corpora were filtered with."""

import pytest

from corpus.quality.kernels.measure import measure
from corpus.quality.rule import failing
from corpus.quality.rules.gopher_quality_rules import RULES as QUALITY
from corpus.quality.rules.gopher_repetition_rules import RULES as REPETITION

AT_LEAST = 995  # of 1,000 documents; docs/word_boundaries.md lists the differences


def test_gopher_rules_agree_with_datatrove_on_real_documents(documents: list[str]) -> None:
    pytest.importorskip("spacy", reason="datatrove cuts words with spaCy: pip install 'gristmill[dev]'")
    from datatrove.data import Document
    from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter

    quality, repetition = GopherQualityFilter(), GopherRepetitionFilter()
    ours, theirs = [], []
    for text in documents:
        signals = measure(text)
        ours.append((not failing(QUALITY, signals), not failing(REPETITION, signals)))
        document = Document(text=text, id="")
        theirs.append((quality.filter(document) is True, repetition.filter(document) is True))
    differ = [
        f"{text[:60]!r}: {one}, not {other}"
        for text, one, other in zip(documents, ours, theirs, strict=True)
        if one != other
    ]
    assert len(documents) - len(differ) >= AT_LEAST, "\n".join(differ)
    for passed in (sum(verdict[rule] for verdict in theirs) for rule in (0, 1)):
        assert 200 < passed < 950, "the sample must have documents on both sides"
