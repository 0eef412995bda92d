"""What a process holds over time, and whether it grows."""

import os
import pathlib
import statistics

# What may come on top between two parts of a run without being growth: pages that the allocator keeps
# for the next peak (3 MB in five minutes, while a million calls that were reset added nothing after the
# first half), connections that come and go.
SLACK = {"resident_kb": 12 * 1024, "descriptors": 48, "threads": 4}
REST_DESCRIPTORS = 4  # the same between two moments at which no client is there
WARM_UP = 30  # samples that are left out at least, if there are twice as many


def sample(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()

    def field(name):
        return int(status.split(f"{name}:")[1].split()[0])

    return {"resident_kb": field("VmRSS"), "threads": field("Threads"),
            "descriptors": len(os.listdir(f"/proc/{pid}/fd"))}


def parts(samples, count=4):
    """The medians of so many parts, equally long, of what came after the warm-up."""
    warm = samples[max(len(samples) // 10, min(WARM_UP, len(samples) // 2)):]
    size = max(1, len(warm) // count)
    return [{name: statistics.median(each[name] for each in warm[at:at + size]) for name in SLACK}
            for at in range(0, size * count, size) if warm[at:at + size]]


def growth_at_rest(before, after):
    """The same of descriptors that were not given back."""
    kept = after["descriptors"] - before["descriptors"]
    return [f"{kept} descriptors more at rest than before"] if kept > REST_DESCRIPTORS else []


def growth(medians):
    """What has grown from the first part to the last, in words, one for each kind."""
    first, last = medians[0], medians[-1]
    return [f"{name} grew from {first[name]:g} to {last[name]:g}" for name, slack in SLACK.items()
            if last[name] > first[name] + slack]
