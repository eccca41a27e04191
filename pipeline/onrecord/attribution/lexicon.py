"""The conflict's words for its actors, and which party a description names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from onrecord.attribution.english import CLAUSE, SEATED, SERVES, SITES, STATE_BODY, TARGETS
from onrecord.config import ConflictConfig, Names
from onrecord.records import JOINT, OTHER


@dataclass(frozen=True)
class Term:
    """Words in a text that name an actor of the conflict."""

    start: int
    end: int
    party: str
    kind: Literal["name", "demonym", "metonym", "body"]
    speaker: str
    priority: bool


class Lexicon:
    """The conflict's words for its actors, compiled once."""

    def __init__(self, conflict: ConflictConfig) -> None:
        self._terms: dict[str, tuple[str, Literal["name", "demonym", "metonym", "body"], str, bool]] = {}
        actors: list[tuple[str, str, Names, bool]] = [
            (label, label, party, party.priority) for label, party in conflict.parties.items()
        ]
        actors += [(OTHER, label, names, False) for label, names in conflict.others.items()]
        for party, label, names, priority in actors:
            for name in names.names:
                self._terms.setdefault(name, (party, "name", label, priority))
            for demonym in names.demonyms:
                self._terms.setdefault(demonym, (party, "demonym", label, priority))
            for place, speaker in names.metonyms.items():
                self._terms.setdefault(place, (party, "metonym", speaker, priority))
            for body, aliases in names.bodies.items():
                for alias in (body, *aliases):
                    self._terms.setdefault(alias, (party, "body", body, priority))
        ordered = sorted(self._terms, key=len, reverse=True)
        self._pattern = re.compile(r"(?<![\w-])(?:" + "|".join(map(re.escape, ordered)) + r")(?!\w)")
        roles = sorted(conflict.private_roles, key=len, reverse=True)
        self._private = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, roles)) + r")(?!\w)", re.IGNORECASE)
        self._unofficial = re.compile(
            r"(?<!\w)(?:" + "|".join(map(re.escape, conflict.unofficial)) + r")(?!\w)" if conflict.unofficial else r"(?!)",
            re.IGNORECASE,
        )
        self.parties = tuple(conflict.parties)

    def find(self, text: str, start: int = 0, end: int | None = None) -> list[Term]:
        """Terms within `[start, end)` of `text`, longest first where they overlap, in text order."""
        stop = len(text) if end is None else end
        return [
            Term(match.start(), match.end(), *self._terms[match.group()]) for match in self._pattern.finditer(text, start, stop)
        ]

    def private(self, words: str) -> str | None:
        """The first word in `words` that makes a speaker nobody's representative."""
        match = self._private.search(words)
        return match.group() if match else None

    def unofficial(self, words: str) -> bool:
        """Whether `words` end an office or stand against it."""
        return self._unofficial.search(words) is not None

    def party(self, words: str) -> tuple[str, Term | None] | None:
        """The party that a description names, and the term that decided; None where it names none.

        *ambassador to X* or *envoy in X* does not speak for X. Two declared parties side by side are joint.
        """
        words = CLAUSE.split(words)[0]
        terms = [
            term
            for term in self.find(words)
            if not self._is_target(words, term) and not (term.kind == "metonym" and SITES.match(words, term.end))
        ]
        if self.unofficial(words):
            return OTHER, None
        official = any(term.kind == "body" or term.priority for term in terms) or STATE_BODY.search(words)
        if not official and self.private(words) is not None:
            return OTHER, None
        if not terms:
            return None
        for term in terms:
            if term.priority:
                return term.party, term
        first = terms[0]
        for before, after in zip(terms, terms[1:], strict=False):
            between = words[before.end : after.start].strip().lower()
            if between not in (
                "and",
                "-",
                "–",
                ",",
                "/",
                "and the",
                "and its",
                ", and",
                "'s and",
                "’s and",
            ) and not re.fullmatch(r"(?:['’]s)?(?: [\w-]+){0,3} and(?: the)?", words[before.end : after.start].lower().rstrip()):
                break
            if before.party != after.party and {before.party, after.party} <= set(self.parties):
                return JOINT, first
        return first.party, first

    @staticmethod
    def _is_target(words: str, term: Term) -> bool:
        before = re.findall(r"[\w’'-]+", words[max(0, term.start - 40) : term.start].lower())
        while before and before[-1] in ("the", "a", "an"):
            before.pop()
        if len(before) > 1 and before[-1] == "to" and before[-2] in SERVES:
            return False
        if before and before[-1] == "in" and term.kind in ("demonym", "body"):
            return False
        if len(before) > 1 and before[-1] == "in" and before[-2] in SEATED:
            return False
        return bool(before) and before[-1] in TARGETS and len(words[: term.start].split()) > 1
