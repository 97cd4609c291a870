"""Where documents are from: the hosts that their addresses name most often."""

from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.inspect.report.signal_histograms import Measured
from corpus.inspect.report.summary_types import HostCount, Hosts

SHOWN_HOSTS = 20
COUNTED_HOSTS = 300_000  # at once: some 100 bytes each
_HOST = (
    r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#\\]*@)?(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[^/?#:@\s\\\[\]]{1,253})(?:[:/?#\\]|$)"
)


def hosts(measured: Measured) -> Hosts | None:
    """The most frequent hosts of a source, by their kept and dropped documents; None where none states an address.

    Counts are exact. Where there are more hosts than are counted at once, those of more than one document in
    COUNTED_HOSTS are found for certain. Source: Misra and Gries, Finding repeated elements (1982), in two passes.
    """
    sums = {True: 0, False: 0}
    found: Counter[str] = Counter()
    all_counted, without = True, 0
    for kept, here, others in _shards(measured):
        without += others
        sums[kept] += sum(here.values())
        found.update(here)
        if len(found) > COUNTED_HOSTS:
            found, all_counted = _thinned(found), False
    if not found:
        return None
    counts = _recount(measured, found)
    order = sorted(found, key=lambda host: (-counts[host, True] - counts[host, False], host))
    return Hosts(
        top=tuple(
            HostCount(host=host, kept=counts[host, True], dropped=counts[host, False]) for host in order[:SHOWN_HOSTS]
        ),
        different=len(found) if all_counted else None,
        kept=sums[True],
        dropped=sums[False],
        without=without,
    )


def _recount(measured: Measured, wanted: Counter[str]) -> Counter[tuple[str, bool]]:
    """Kept and dropped documents of these hosts alone."""
    counts: Counter[tuple[str, bool]] = Counter()
    for kept, here, _ in _shards(measured):
        for host, documents in here.items():
            if host in wanted:
                counts[host, kept] += documents
    return counts


def _thinned(found: Counter[str]) -> Counter[str]:
    """Half of them at most: all counts are lowered by the same number, and those that reach nothing go."""
    cut = sorted(found.values(), reverse=True)[COUNTED_HOSTS // 2]
    return Counter({host: count - cut for host, count in found.items() if count > cut})


def _shards(measured: Measured) -> Iterator[tuple[bool, dict[str, int], int]]:
    """For each shard whether its documents were kept, their hosts, and how many have none."""
    for path, kept in measured.shards():
        counts = pc.value_counts(_hosts_of(pq.read_table(path, columns=["url"])["url"])).to_pylist()
        here = {row["values"]: row["counts"] for row in counts}
        yield kept, here, here.pop(None, 0)


def _hosts_of(urls: pa.ChunkedArray) -> pa.ChunkedArray:
    """In lower case; null where an address has none."""
    return pc.utf8_lower(pc.struct_field(pc.extract_regex(urls, _HOST), "host"))
