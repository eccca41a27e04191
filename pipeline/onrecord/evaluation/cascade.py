"""Of every gold statement that the whole pipeline misses: which room lost it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onrecord.evaluation.measures import chain_right
from onrecord.evaluation.predictions import GoldRow, Predictions
from onrecord.evaluation.statistics import Resampler, Score, ratio
from onrecord.evaluation.tables import Table

ROOMS = ("extraction", "attribution", "stance")
KEPT = "kept"
EXAMPLES = 20


@dataclass(frozen=True)
class Loss:
    """A gold statement and the first room that lost it; `sure` is how sure the pipeline was of its answer."""

    item: GoldRow
    room: str
    sure: float


@dataclass(frozen=True)
class Cascade:
    """Share of gold statements kept and lost in each room, what each loss would have become, and examples."""

    shares: dict[str, Score]
    counts: dict[str, int]
    saved: dict[str, int]
    examples: tuple[Loss, ...]

    def tables(self) -> list[Table]:
        """The losses by room, and the worst examples."""
        what = {
            KEPT: "found, right party, right stance",
            "extraction": "not found",
            "attribution": "found, wrong party",
            "stance": "found, right party, wrong stance",
        }
        rows = tuple((room, what[room], self.counts[room], self.shares[room], self.saved.get(room, "")) for room in what)
        note = (
            "The first room that went wrong counts. The last column: how many of these the later rooms get right when the gold "
            "quotes are given to them, so that only the loss of the first room stands in the way."
        )
        title = "Where statements are lost"
        return [
            Table("cascade", title, ("room", "what happened", "n", "share", "right with gold quotes"), rows, note),
            self._worst(),
        ]

    def _worst(self) -> Table:
        rows = tuple(
            (
                loss.room,
                loss.item.row.article,
                loss.item.gold.text,
                f"{loss.item.gold.party} → {loss.item.gold.stance}",
                f"{found.party} → {found.stance}" if (found := loss.item.row.found) else "–",
                loss.sure,
            )
            for loss in self.examples
        )
        note = "Rooms by turns, in each the ones of which the pipeline was most sure (confidence in the stance)."
        return Table("cascade_worst", "The worst losses", ("room", "article", "quote", "gold", "answer", "sure"), rows, note)


def cascade(data: Predictions, resampler: Resampler) -> Cascade:
    """Follow each gold quote of `data`, which must hold the whole pipeline's answers, through the rooms."""
    losses: dict[str, list[Loss]] = {room: [] for room in ROOMS}
    counts = {room: np.zeros((len(data.articles), 2)) for room in (KEPT, *ROOMS)}
    saved = dict.fromkeys(ROOMS, 0) if data.roomed else {}
    for item in data.gold():
        room = _room(item)
        for name, table in counts.items():
            table[item.place] += (name == room, 1)
        if room == KEPT:
            continue
        answer = item.row.found or item.row.given
        losses[room].append(Loss(item, room, answer.confidence if answer else 0.0))
        if data.roomed:
            saved[room] += chain_right(item, item.row.given)
    shares = {
        room: resampler.score(table, ratio, int(table[:, 1].sum()), lower_is_better=room != KEPT)
        for room, table in counts.items()
    }
    totals = {room: int(table[:, 0].sum()) for room, table in counts.items()}
    return Cascade(shares, totals, saved, _by_turns([losses[room] for room in ROOMS]))


def _room(item: GoldRow) -> str:
    found = item.row.found
    if found is None:
        return "extraction"
    if found.party != item.gold.party:
        return "attribution"
    return KEPT if found.stance == item.gold.stance else "stance"


def _by_turns(queues: Sequence[list[Loss]]) -> tuple[Loss, ...]:
    """Up to EXAMPLES losses, one room after the other, the surest first."""
    ordered = [sorted(queue, key=lambda loss: -loss.sure) for queue in queues]
    longest = max((len(queue) for queue in ordered), default=0)
    turns = [queue[turn] for turn in range(longest) for queue in ordered if turn < len(queue)]
    return tuple(turns[:EXAMPLES])
