"""Articles → shards, and one shard → its rows: what a worker does, and what could be done in one process as well."""

from __future__ import annotations

import datetime as dt
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from onrecord.analyzer import Analyzer
from onrecord.article import RawArticle, Rejected, read_raw, storable
from onrecord.batch.folder import Mark, RunFolder
from onrecord.records import Article, RecordError, Statement
from onrecord.stores import StoreError

# A shard is a fixed number of articles, or fewer where they are large: it passes whole from process to process.
MAX_SHARD_BYTES = 64_000_000
# Statements of articles that are kept, should the same text come again: some 10 kB each.
MAX_KEPT = 4000

Item = RawArticle | Rejected


@dataclass(frozen=True)
class Shard:
    """Items of the input, whatever files they come from. `read` is how far its end is in the inputs [bytes]."""

    number: int
    items: tuple[Item, ...]
    read: int


def cut(items: Iterable[Item], most: int, read: Callable[[], int]) -> Iterator[Shard]:
    """Cut the stream of `items` into shards of `most` each; the same items always give the same shards.

    Args:
        items: What the inputs hold, in order.
        most: Items in a shard, but the last.
        read: Says how far reading has come [bytes].
    """
    held: list[Item] = []
    size = number = 0
    for item in items:
        held.append(item)
        size += item.size if isinstance(item, RawArticle) else 0
        if len(held) == most or size >= MAX_SHARD_BYTES:
            yield Shard(number, tuple(held), read())
            held, size, number = [], 0, number + 1
    if held:
        yield Shard(number, tuple(held), read())


class Seen:
    """Statements of the last articles, by text and date: the same text is analyzed once while it is remembered."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, dt.date | None], list[Statement]] = OrderedDict()
        self._size = 0

    def analyze(self, analyzer: Analyzer, article: Article, digest: str) -> list[Statement]:
        """The article's statements; `digest` is the hash of its text."""
        key = (digest, article.date)
        if key in self._kept:
            self._kept.move_to_end(key)
            return [statement.moved_to(article) for statement in self._kept[key]]
        statements = analyzer.analyze(article)
        self._kept[key] = statements
        # An article without statements takes room too.
        self._size += len(statements) + 1
        while self._size > MAX_KEPT:
            self._size -= len(self._kept.popitem(last=False)[1]) + 1
        return statements


@dataclass(frozen=True)
class Outcome:
    """What came of one input: an article with its statements, or why there are none; or both where analysis failed."""

    place: str
    article: Article | None
    digest: str | None
    statements: list[Statement]
    reason: str | None

    def row(self, seconds: float) -> dict[str, Any]:
        """The article's row in a run folder."""
        article = self.article
        return {
            "place": self.place,
            "id": article.id if article else None,
            "hash": self.digest,
            "title": article.title if article else None,
            "date": article.date if article else None,
            "outlet": article.outlet if article else None,
            "url": article.url if article else None,
            "status": "done" if self.reason is None else "rejected",
            "reason": self.reason,
            "characters": len(article.text) if article else None,
            "statements": len(self.statements),
            "seconds": round(seconds, 4),
        }


def analyze_raw(analyzer: Analyzer, item: Item, date: dt.date | None, seen: Seen | None = None) -> Outcome:
    """Read and analyze one input. Whatever is wrong with it, it becomes statements or a reason, and the next one's turn comes.

    Args:
        analyzer: The pipeline.
        item: What was found.
        date: Day for an article that brings none.
        seen: Remembers articles of before.

    Raises:
        StoreError: when what is behind a URL can't be read.
    """
    article = digest = None
    try:
        read = item if isinstance(item, Rejected) else read_raw(item, date, analyzer.settings)
        if isinstance(read, Rejected):
            return Outcome(read.place, None, None, [], read.reason)
        article, digest = read, hashlib.sha256(read.text.encode()).hexdigest()[:16]
        return Outcome(storable(item.place), article, digest, (seen or Seen()).analyze(analyzer, article, digest), None)
    except StoreError:
        # No fault of the article, and gone when the run is gone on with.
        raise
    except RecordError as error:
        fault = Rejected(item.place, f"{item.place}: {error}")
    # A fault of ours in one article must not end a run over a hundred million: it is kept with its place.
    except Exception as error:  # noqa: BLE001
        reason = f"{item.place}: a fault of onrecord, please report it: {type(error).__name__}: {error}"
        fault = Rejected(item.place, reason)
    return Outcome(fault.place, article, digest, [], fault.reason)


def write_shard(
    analyzer: Analyzer,
    shard: Shard,
    folder: RunFolder,
    *,
    date: dt.date | None,
    seen: Seen,
    skip: Mapping[int, str],
    tell: Callable[[int, int, int], None],
) -> Mark:
    """Analyze a shard and put its rows and its mark in place.

    Args:
        analyzer: The pipeline.
        shard: What to read.
        folder: The run's.
        date: Day for articles that bring none.
        seen: Remembers articles of before.
        skip: Items that are not tried again, by their place in the shard, and why.
        tell: Called before each item, and once after the last, with its place in the shard and how many statements and
            rejected inputs the shard has so far.

    Raises:
        OSError: when the folder can't be written.
        StoreError: when what is behind a URL can't be read or written.
    """
    with folder.shard(shard.number) as writer:
        for index, item in enumerate(shard.items):
            tell(index, writer.statements, len(writer.rejected))
            start = time.perf_counter()
            given = Rejected(item.place, f"{item.place}: {skip[index]}") if index in skip else item
            outcome = analyze_raw(analyzer, given, date, seen)
            rejected = None if outcome.reason is None else {"place": outcome.place, "reason": outcome.reason}
            writer.add(outcome.row(time.perf_counter() - start), outcome.statements, rejected)
        tell(len(shard.items), writer.statements, len(writer.rejected))
    return writer.mark
