"""Account of a source's input files: the facts that the tasks of `clean` record, their sums, and both in words."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from pydantic import Field

from corpus.errors import CorpusError
from corpus.settings import Strict
from corpus.store.ledger import FileLoss, Ledger
from corpus.units import by_count, human_bytes, largest

SHOWN_FILES = 5
SHOWN_FORMATS = 4


class ReadRange(Strict):
    """Bytes of a file that a task has read: from the first span's start to the last one's end."""

    file: str
    start: int
    end: int
    records: int
    lost: dict[str, int] = Field(default_factory=dict)  # unreadable bytes by reason; not recorded if there are none


class CleanFacts(Strict):
    """Facts of a clean task."""

    ranges: tuple[ReadRange, ...]
    signals: tuple[str, ...]  # names of the signal columns
    without_checksum: dict[str, str] = Field(default_factory=dict)  # format by file; not recorded if there are none


def check_spans(all_facts: Iterable[CleanFacts], sizes: Mapping[str, int]) -> None:
    """Raise CorpusError unless the ranges of each file add up to its size."""
    reached: dict[str, int] = {}
    for facts in all_facts:
        for span in facts.ranges:
            before = reached.get(span.file, 0)
            if span.records and span.start != before:
                raise CorpusError(f"{span.file}: bytes {before}..{span.start} are accounted for twice or not at all")
            reached[span.file] = max(span.end, before) if span.records else before
    for name, size in sizes.items():
        if reached.get(name, 0) != size:
            raise CorpusError(f"{name}: accounted for up to byte {reached.get(name, 0)} of {size}")


def exceeds(part: int, whole: int, share: float) -> bool:
    """Return True if `part` is more than this share of `whole`. The share counts as written: 29 % of 100 is 29."""
    return part > Fraction(str(share)) * whole


def losses_of(all_facts: Iterable[CleanFacts]) -> list[FileLoss]:
    """Return the files that lost bytes, the largest losses first."""
    sizes, lost = Counter[str](), defaultdict[str, Counter[str]](Counter)
    for facts in all_facts:
        for part in facts.ranges:
            sizes[part.file] += part.end - part.start
            if part.lost:
                lost[part.file].update(part.lost)
    losses = [FileLoss(name, sizes[name], found.total(), tuple(by_count(found))) for name, found in lost.items()]
    return sorted(losses, key=lambda loss: (-loss.lost_bytes, loss.file))


def formats_without_checksum(all_facts: Iterable[CleanFacts]) -> dict[str, str]:
    """Return the formats of the files whose data carry no checksum, by name."""
    return {name: form for facts in all_facts for name, form in facts.without_checksum.items()}


def files_lost(source: str, losses: Sequence[FileLoss], ledger: Ledger) -> str:
    """Name the files that lost most, with the bytes that were read and lost."""
    read, lost = ledger.total("input_bytes"), sum(loss.lost_bytes for loss in losses)
    lines = [f"{source}: {_share(lost, read)} of the input could not be read, in {_files(len(losses))}:"]
    for loss in losses[:SHOWN_FILES]:
        kept = human_bytes(loss.input_bytes - loss.lost_bytes)
        reasons = ", ".join(loss.reasons)
        lines.append(f"  {loss.file}: {kept} read, {_share(loss.lost_bytes, loss.input_bytes)} lost ({reasons})")
    if more := losses[SHOWN_FILES:]:
        lines.append(f"  and {_files(len(more))} more: {human_bytes(sum(loss.lost_bytes for loss in more))} lost")
    return "\n".join(lines)


def nothing_kept(ledgers: Mapping[str, Ledger]) -> str:
    """Return the outcomes of all records of sources that kept no document, a line each."""
    return "\n".join(f"  {source}: {outcomes(ledger)}" for source, ledger in ledgers.items())


def outcomes(ledger: Ledger) -> str:
    """Return the outcomes of records in words."""
    entries = [
        f"{entry.records:,} {entry.outcome}" + f" ({entry.reason})" * bool(entry.reason) for entry in ledger.entries()
    ]
    return ", ".join(entries) or "its files hold no record"


def files_without_checksum(source: str, formats: Mapping[str, str], files: int) -> str:
    """Say which files carry no checksum, given their formats by name."""
    kinds = largest(Counter(formats.values()), SHOWN_FORMATS)
    return f"{source}: no checksum in {len(formats):,} of {_files(files)} ({kinds}); changed bytes in them go unnoticed"


def _share(part: int, whole: int) -> str:
    return f"{human_bytes(part)} ({part / max(whole, 1):.2%})"


def _files(count: int) -> str:
    return f"{count:,} file{'s' if count != 1 else ''}"
