"""Which questions a limited run asks: of every kind its share, and the same ones again when the limit grows."""

from collections.abc import Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import islice

from videothinker import store
from videothinker.curated import Labels
from videothinker.records import Benchmark, Question


def limited(questions: Sequence[Question], limit: int, labels: Labels, benchmark: Benchmark | None, done: set[str]) -> set[str]:
    """Ids of the questions that a run of `limit` questions asks.

    done: what the run has answered already. It counts towards the limit whatever it is, so that a run which an earlier version
    began with another choice is finished and not begun anew. The others come in the order of `in_order`.
    """
    kinds = kinds_of(questions, labels, benchmark)
    others = (one for one in in_order(kinds) if one not in done)
    return done | set(islice(others, max(limit - len(done), 0)))


def kinds_of(questions: Sequence[Question], labels: Labels, benchmark: Benchmark | None) -> dict[str, list[str]]:
    """Ids of the questions by kind: the value of the facet over which the benchmark averages; else the category of the set's
    own labels; else the value of the first facet. A question without such a value is of the kind ""."""
    facet = benchmark.macro_over if benchmark is not None else None
    first = next((name for question in questions for name in question.facets), "")
    kinds: dict[str, list[str]] = {}
    for question in questions:
        if facet is None and labels.own is not None:
            kind: str = labels.category(question.question_id) or ""
        else:
            kind = question.facets.get(facet or first, "")
        kinds.setdefault(kind, []).append(question.question_id)
    return kinds


def in_order(kinds: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """All ids in the order in which a growing limit takes them; within a kind by hash of the id.

    Whatever the limit N is, a kind of n questions among T has N n / T of them, rounded down or up. Largest remainders give the
    same for one N, but not so that a larger N keeps what a smaller one chose. Here question k = 0, 1, ... of a kind may come in
    no earlier place than floor(k T / n), and has to come before place ceil((k + 1) T / n). Taking, of those that may come, the
    one with the nearest deadline keeps all of them (earliest deadline first; Baruah et al. 1996, "Proportionate progress").
    """
    total = sum(map(len, kinds.values()))
    entries = [
        (place * total // len(ids), -(-(place + 1) * total // len(ids)), digest, name)
        for ids in kinds.values()
        for place, (digest, name) in enumerate(sorted((store.sha256_json(name), name) for name in ids))
    ]
    coming = sorted(entries, reverse=True)
    due: list[tuple[int, str, str]] = []
    for place in range(total):
        while coming and coming[-1][0] <= place:
            heappush(due, coming.pop()[1:])
        yield heappop(due)[-1]
