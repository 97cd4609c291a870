"""Text of a download's progress bar: bytes, rate and time left."""

from pipelines.engine.progress import TransferRate


def test_bytes_rate_and_time_left() -> None:
    """Fails if the rate covers all updates rather than the last ones, or the time left counts from the total."""
    rate = TransferRate()
    assert rate.update(0, 1_000_000, 0.0) == "0 B of 1 MB"
    assert rate.update(100_000, 1_000_000, 1.0) == "100 kB of 1 MB, 100 kB/s, 9.0 s left"
    for second in range(2, 30):
        rate.update(100_000, 1_000_000, float(second))
    assert rate.update(100_000, 1_000_000, 30.0) == "100 kB of 1 MB", "no bytes for a while: no rate"
    assert rate.update(200_000, 1_000_000, 31.0).endswith("s left")
