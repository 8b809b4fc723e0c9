"""A limited run asks of every kind its share, a larger limit adds to a smaller one, and earlier runs count."""

from fractions import Fraction
from itertools import islice, pairwise
from math import ceil, floor

import pytest
from curated_factory import a_choice, a_question, labels_of, questions_of
from hypothesis import given
from hypothesis import strategies as st

from videothinker import store
from videothinker.curated import NO_LABELS
from videothinker.diagnose.limit import in_order, kinds_of, limited
from videothinker.records import Benchmark


def made(sizes: list[int]) -> dict[str, list[str]]:
    return {f"kind {number}": [f"{number}:{i}" for i in range(size)] for number, size in enumerate(sizes)}


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_every_kind_has_its_share_rounded_down_or_up_at_every_limit(sizes: list[int]) -> None:
    total, taken = sum(sizes), [0] * len(sizes)
    order = list(in_order(made(sizes)))
    assert sorted(order) == sorted(name for ids in made(sizes).values() for name in ids)
    for n, name in enumerate(order, start=1):
        taken[int(name.partition(":")[0])] += 1
        for size, n_taken in zip(sizes, taken, strict=True):
            share = Fraction(n * size, total)
            assert floor(share) <= n_taken <= ceil(share)


def test_a_larger_limit_adds_to_a_smaller_one_where_largest_remainders_take_some_back() -> None:
    """Alabama's paradox: of kinds of 15, 15, 9, 5, 5 and 2, largest remainders give both fives 3 of 25 and 2 of 26."""
    sizes = [15, 15, 9, 5, 5, 2]
    assert [largest_remainders(sizes, n) for n in (25, 26)] == [[7, 7, 4, 3, 3, 1], [8, 8, 5, 2, 2, 1]]
    questions = [a_choice(name, facets={"task": kind}) for kind, ids in made(sizes).items() for name in ids]
    chosen = [limited(questions, n, NO_LABELS, None, set()) for n in range(1, 52)]
    assert [len(one) for one in chosen] == list(range(1, 52))
    assert all(fewer < more for fewer, more in pairwise(chosen))


def largest_remainders(sizes: list[int], n: int) -> list[int]:
    shares = [Fraction(n * size, sum(sizes)) for size in sizes]
    whole = [floor(share) for share in shares]
    for place in sorted(range(len(sizes)), key=lambda i: whole[i] - shares[i])[: n - sum(whole)]:
        whole[place] += 1
    return whole


def test_a_big_kind_does_not_crowd_out_many_small_ones() -> None:
    chosen = list(islice(in_order(made([900, *[1] * 100])), 450))
    assert sum(name.startswith("0:") for name in chosen) == 405


def test_within_a_kind_the_smallest_hashes_come_first() -> None:
    ids = [str(i) for i in range(20)]
    assert list(in_order({"all": ids})) == sorted(ids, key=store.sha256_json)


def test_what_was_answered_counts_towards_the_limit() -> None:
    questions = [a_choice(str(i), facets={"task": "order" if i < 10 else "count"}) for i in range(20)]
    fresh = limited(questions, 6, NO_LABELS, None, set())
    assert sum(int(name) < 10 for name in fresh) == 3
    assert limited(questions, 6, NO_LABELS, None, set(sorted(fresh)[:2])) == fresh  # killed after two
    another = {str(i) for i in range(6)}  # chosen by an earlier version, and finished
    assert limited(questions, 6, NO_LABELS, None, another) == another
    more = limited(questions, 8, NO_LABELS, None, another)
    assert (len(more), more > another) == (8, True)
    assert limited(questions, 99, NO_LABELS, None, set()) == {one.question_id for one in questions}


def test_kinds_are_the_benchmarks_facet_else_the_category_else_the_first_facet() -> None:
    plain = [a_choice("a", facets={"domain": "x", "task": "order"}), a_choice("b", facets={"task": "count"})]
    assert kinds_of(plain, NO_LABELS, None) == {"x": ["a"], "": ["b"]}
    assert kinds_of(plain, NO_LABELS, Benchmark(name="B", macro_over="task")) == {"order": ["a"], "count": ["b"]}
    labelled = [a_question("0:0"), a_question("0:1", observer="B")]
    labels = labels_of(labelled)
    assert kinds_of(questions_of(labelled), labels, None) == {"observational": ["0:0"], "inferential": ["0:1"]}
    assert kinds_of([], NO_LABELS, None) == {}


@pytest.mark.parametrize("limit", [1, 3])
def test_a_limit_of_fewer_than_there_are_kinds_is_kept(limit: int) -> None:
    questions = [a_choice(str(i), facets={"task": str(i)}) for i in range(9)]
    assert len(limited(questions, limit, NO_LABELS, None, set())) == limit
