"""Files are split into parts so that every byte is in exactly one part."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.split_points import CutFile, part_count, parts_of, ranges_of

sizes = st.lists(st.integers(0, 5000), min_size=1, max_size=20)


@given(sizes, st.integers(1, 30))
def test_every_byte_is_read_by_exactly_one_part(sizes: list[int], parts: int) -> None:
    """Verified to fail with `<` for `<=` at a border on a file's first byte: no part then reads some bytes."""
    files = [CutFile(size, *cut) for size, cut in zip(sizes, parts_of(sizes, parts), strict=True)]
    reads = [[0] * size for size in sizes]
    visited = [0] * len(sizes)
    for part in range(parts):
        for each in ranges_of(part, files):
            visited[each.file] += 1
            for byte in range(each.start, each.end):
                reads[each.file][byte] += 1
    assert all(count == 1 for file in reads for count in file)
    assert all(count >= 1 for count in visited), "an empty file is visited too"


@given(sizes, st.integers(1, 30))
def test_parts_have_equal_sizes(sizes: list[int], parts: int) -> None:
    files = [CutFile(size, *cut) for size, cut in zip(sizes, parts_of(sizes, parts), strict=True)]
    total = sum(sizes)
    lengths = [sum(each.end - each.start for each in ranges_of(part, files)) for part in range(parts)]
    assert max(lengths) - min(lengths) <= 1 if total else sum(lengths) == 0


@given(sizes, st.integers(1, 12), st.data())
def test_moved_split_points_keep_every_byte(sizes: list[int], parts: int, data: st.DataObject) -> None:
    """A reader may move a split point to a later record, even to the end of the file."""
    files = []
    for size, cut in zip(sizes, parts_of(sizes, parts), strict=True):
        moved, last = [], 0
        for wanted in cut.wanted:
            last = data.draw(st.integers(max(wanted, last), size))
            moved.append(last)
        files.append(CutFile(size, cut.first_part, tuple(moved)))
    covered = [0] * len(sizes)
    for part in range(parts):
        for each in ranges_of(part, files):
            assert each.start == covered[each.file]
            covered[each.file] = each.end
    assert covered == sizes


def test_there_is_at_least_one_part() -> None:
    assert [part_count(size, 100) for size in (0, 1, 100, 101, 1000)] == [1, 1, 1, 2, 10]
