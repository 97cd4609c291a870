"""Peak of the memory that torch's CPU allocator hands out, compiled code included."""

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def peak_bytes(run: Callable[[], object]) -> int:
    """Return the most bytes allocated at a time during the call, less those from before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    results = profiler.profiler.kineto_results if profiler.profiler else None
    assert results is not None
    changes = sorted(
        ((event.start_ns(), event.nbytes()) for event in results.events() if event.name() == "[memory]"),
        key=lambda change: change[0],
    )
    now = peak = 0
    for _, change in changes:
        now += change
        peak = max(peak, now)
    return peak
