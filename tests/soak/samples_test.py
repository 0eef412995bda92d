"""What counts as growth: a leak does, noise and the warm-up do not."""

import os

from samples import growth, growth_at_rest, parts, sample


def test_a_leak_is_growth_and_the_warm_up_is_not():
    flat = {"resident_kb": 100_000, "descriptors": 50, "threads": 20}
    warming = [{**flat, "resident_kb": 1_000 * i} for i in range(30)]
    steady = [{**flat, "resident_kb": 100_000 + 3_000 * (i % 3), "descriptors": 50 + i % 9}
              for i in range(300)]
    assert growth(parts(warming + steady)) == []
    for name, step in [("resident_kb", 500), ("descriptors", 1), ("threads", 0.1)]:
        leaking = [{**each, name: each[name] + step * i} for i, each in enumerate(steady)]
        grown = growth(parts(warming + leaking))
        assert len(grown) == 1 and grown[0].startswith(f"{name} grew from "), name


def test_descriptors_that_are_kept_at_rest_are_growth():
    assert growth_at_rest({"descriptors": 20}, {"descriptors": 22}) == []
    assert growth_at_rest({"descriptors": 20}, {"descriptors": 30}) == [
        "10 descriptors more at rest than before"]


def test_a_process_says_what_it_holds():
    before = sample(os.getpid())
    assert before["resident_kb"] > 1_000 and before["threads"] >= 1
    with open("/dev/null", encoding="ascii"):
        assert sample(os.getpid())["descriptors"] == before["descriptors"] + 1
