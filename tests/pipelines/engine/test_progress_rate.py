"""What is shown of a fetch: bytes, rate, and time left."""

from pipelines.engine.progress import Rate


def test_bytes_rate_and_time_left() -> None:
    """Fails if the rate is over all time rather than the last readings, or what is left is counted from the total."""
    rate = Rate()
    assert rate.told(0, 1_000_000, 0.0) == "0 B of 1 MB"
    assert rate.told(100_000, 1_000_000, 1.0) == "100 kB of 1 MB, 100 kB/s, 9.0 s left"
    for second in range(2, 30):
        rate.told(100_000, 1_000_000, float(second))
    assert rate.told(100_000, 1_000_000, 30.0) == "100 kB of 1 MB", "nothing arrived for a while: no rate"
    assert rate.told(200_000, 1_000_000, 31.0).endswith("s left")
