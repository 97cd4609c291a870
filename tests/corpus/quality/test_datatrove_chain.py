"""datatrove steps give the verdicts of datatrove itself, independent of earlier documents."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from corpus.document import Document, Origin, UnreadableError
from corpus.errors import CorpusError
from corpus.quality.datatrove_chain import MAX_REASONS, Chain, StepVerdict, snake_case
from corpus.quality.datatrove_steps import Step

FILTERS, FORMATTERS = "datatrove.pipeline.filters.", "datatrove.pipeline.formatters."
MAX_CHARACTERS = 4_000  # spaCy reads 0.3 MB/s


@pytest.fixture(scope="module")
def texts(data: Path) -> list[str]:
    """Real documents of many kinds."""
    lines = [line for path in sorted((data / "records").glob("*.jsonl")) for line in path.open(encoding="utf-8")]
    found = [json.loads(line)["text"][:MAX_CHARACTERS] for line in lines]
    assert len(found) > 100
    return found


def step(use: str, **arguments: object) -> Step:
    return Step.model_validate({"use": use, "with": arguments})


def document(text: str, number: int, **known: str | None) -> Document:
    """A document without metadata but its id, source and origin, and `known`."""
    unknown = {"url": None, "date": None, "language": None, "license": None}
    origin, signals = Origin("records.jsonl", 0, len(text)), {"language_score": None}
    return Document(f"{number:032x}", text, "records", origin=origin, signals=signals, **{**unknown, **known})


def verdicts(chain: Chain, texts: list[str], numbers: list[int] | None = None) -> dict[int, StepVerdict]:
    """Verdict of each text, in the order of `numbers`."""
    return {n: chain.judge(document(texts[n], n)) for n in numbers or range(len(texts))}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("GopherQualityFilter", {"min_doc_words": 40}),
        ("GopherRepetitionFilter", {}),
        ("C4QualityFilter", {}),
        ("C4ParagraphFilter", {}),
        ("FineWebQualityFilter", {"stop_chars": [".", "?", "!"]}),
        ("RegexFilter", {"regex_exp": "[Jj]ava|\\$"}),
    ],
)
def test_verdicts_and_texts_are_those_of_the_filter_in_its_own_pipeline(
    texts: list[str], name: str, arguments: dict[str, object]
) -> None:
    pytest.importorskip("spacy", reason="datatrove cuts words with spaCy: pip install 'gristmill[dev]'")
    import datatrove.pipeline.filters
    from datatrove.data import Document

    given = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    theirs = getattr(datatrove.pipeline.filters, name)(**given)
    kept = {int(doc.id): doc.text for doc in theirs.run(Document(text=text, id=str(n)) for n, text in enumerate(texts))}
    reasons = {key.removeprefix("dropped_"): int(value.total) for key, value in theirs.stats.stats.items()}

    ours = verdicts(Chain([step(FILTERS + name, **arguments)]), texts)
    assert {n: verdict.text for n, verdict in ours.items() if verdict.dropped is None} == kept
    assert 5 < len(kept) < len(texts) - 5, "the sample must have documents on both sides"
    drops = [verdict.dropped for verdict in ours.values() if verdict.dropped]
    dropped = [reason.removeprefix(f"datatrove.{name}").lstrip(".") for reason in drops]
    for reason in set(dropped) - {""}:
        (theirs_name,) = [key for key in reasons if snake_case(key) == reason]
        assert dropped.count(reason) == reasons[theirs_name]
    assert len(dropped) == reasons["dropped"]


@pytest.mark.parametrize(("name", "arguments"), [("PIIFormatter", {"remove_ips": False}), ("SymbolLinesFormatter", {})])
def test_formatters_edit_as_in_datatrove(texts: list[str], name: str, arguments: dict[str, object]) -> None:
    import datatrove.pipeline.formatters as formatters

    chain, edited = Chain([step(FORMATTERS + name, **arguments)]), 0
    for number, text in enumerate(texts):
        ours = chain.edit(text, f"{number:032x}")
        assert ours == getattr(formatters, name)(**arguments).format(text)  # a new one each time: PIIFormatter counts
        edited += ours != text
    assert edited


def test_no_verdict_depends_on_earlier_documents(texts: list[str]) -> None:
    steps = [step(FILTERS + "SamplerFilter", rate=0.4, seed=5), step(FORMATTERS + "PIIFormatter")]
    chain = Chain(steps)
    first = verdicts(chain, texts)
    backwards = verdicts(chain, texts, list(reversed(range(len(texts)))))
    assert first == backwards == verdicts(Chain(steps), texts)
    assert 0.25 < sum(verdict.dropped is None for verdict in first.values()) / len(texts) < 0.55
    other = verdicts(Chain([step(FILTERS + "SamplerFilter", rate=0.4, seed=6)]), texts)
    assert other != first
    mail = "Write to me@mills.net or to you@mills.net."
    assert len({chain.edit(mail, f"{n:032x}") for n in range(3)}) == 1 and "mills" not in chain.edit(mail, "0" * 32)


def test_steps_run_in_order_and_filters_see_what_earlier_ones_left() -> None:
    chain = Chain(
        [
            step(FILTERS + "RegexFilter", regex_exp="[a-z]"),
            step("own_steps.Loud"),
            step("own_steps.LinesAtMost", lines=2),
            step(FILTERS + "RegexFilter", regex_exp="SECOND"),
        ]
    )
    text = chain.edit("first\nsecond", "0" * 32)
    assert text == "FIRST\nSECOND"
    assert chain.judge(document(text, 1)) == StepVerdict(text, "datatrove.RegexFilter_2")
    assert chain.judge(document("A\nB\nC", 2)).dropped == "datatrove.LinesAtMost.b_3_lines_b"
    assert chain.judge(document("small", 3)).dropped == "datatrove.RegexFilter"
    assert chain.judge(document("FINE", 4)) == StepVerdict("FINE")


def test_a_filter_sees_the_known_metadata_of_a_document() -> None:
    known = document("x", 0, language="en")
    told = Chain([step("own_steps.Reports")]).judge(replace(known, signals={"language_score": 512, "words": 9}))
    assert (
        told.dropped == "datatrove.Reports.0000_language_language_score_origin_file_origin_start_source"
    )  # no key where nothing is known


def test_an_error_fails_one_document_and_names_the_step() -> None:
    chain = Chain([step("own_steps.Fragile", word="fragile")])
    assert chain.judge(document("sound", 1, url="https://x.example")).dropped is None
    with pytest.raises(UnreadableError) as error:
        chain.judge(document("fragile", 2))
    assert error.value.reason == "datatrove.Fragile.zero_division_error"
    with pytest.raises(UnreadableError, match=r"datatrove\.Spoils\.type_error"):
        Chain([step("own_steps.Spoils")]).edit("text", "0" * 32)


def test_a_fault_of_the_machine_stops_the_build() -> None:
    with pytest.raises(CorpusError, match=r"own_steps\.Fragile.*ConnectionResetError"):
        Chain([step("own_steps.Fragile", word="fragile", machine=True)]).judge(document("fragile", 1))


def test_reasons_are_short_names_and_few() -> None:
    chain = Chain([step("own_steps.LinesAtMost", lines=0)])
    names = {chain.judge(document("x\n" * n, n)).dropped for n in range(1, 3 * MAX_REASONS)}
    assert len(names) == MAX_REASONS + 1 and "datatrove.LinesAtMost" in names
    assert snake_case("< 3 paragraphs") == "3_paragraphs" and snake_case("ZeroDivisionError") == "zero_division_error"
    assert len(snake_case("long " * 1000)) <= 60 and snake_case("\x1b[31m<script>") == "31m_script"
