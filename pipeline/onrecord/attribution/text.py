"""An article's tokens, sentences, actors and names, indexed for look-ups from any place."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from onrecord.attribution.english import BARRIERS, CALENDAR, OPENERS, PARTICLES, ROLE_WORDS, SENTENCE_END, TITLES, TOKEN
from onrecord.attribution.lexicon import Lexicon, Term


@dataclass(frozen=True)
class Name:
    """A person's name in the text and the words that describe it there."""

    start: int
    end: int
    text: str
    description: str

    @property
    def surname(self) -> str:
        """Key by which mentions of one person are grouped."""
        return fold(self.text.split()[-1])


def fold(name: str) -> str:
    """A name without case, accents and the spellings that transliterations differ in."""
    plain = name.casefold().replace("ə", "a").replace("ı", "i").replace("’", "'")
    plain = "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))
    return re.sub(r"'s$|[.'\-]", "", plain).replace("yev", "ev").replace("iy", "y").replace("ii", "y")


class TextView:
    """One article with its tokens, sentences and names, indexed for look-ups from any place."""

    def __init__(self, text: str, lexicon: Lexicon) -> None:
        self.text, self.lexicon = text, lexicon
        self.tokens = [(match.start(), match.end(), match.group()) for match in TOKEN.finditer(text)]
        self._starts = [token[0] for token in self.tokens]
        breaks = [match.end() for match in SENTENCE_END.finditer(text)]
        self.sentences = [0, *breaks, len(text)]
        self.paragraphs = [0, *(match.end() for match in re.finditer(r"\n\s*\n", text)), len(text)]

    def sentence(self, place: int) -> int:
        """Number of the sentence at `place`."""
        return bisect_right(self.sentences, place) - 1

    def paragraph_start(self, place: int) -> int:
        """Where the paragraph at `place` begins."""
        return self.paragraphs[bisect_right(self.paragraphs, place) - 1]

    def index(self, place: int) -> int:
        """Number of the first token at or after `place`."""
        return bisect_left(self._starts, place)

    @cached_property
    def terms(self) -> list[Term]:
        """All terms of the text."""
        return self.lexicon.find(self.text)

    @cached_property
    def term_starts(self) -> list[int]:
        """Where each of `terms` begins."""
        return [term.start for term in self.terms]

    @cached_property
    def names(self) -> list[Name]:
        """Every capitalised run that reads as a person's name of two or more words, with its description."""
        return [
            Name(start, end, self.text[start:end], self.describe(start, end))
            for start, end in name_runs(self.tokens, self.terms)
            if " " in self.text[start:end]
        ]

    @cached_property
    def _name_starts(self) -> list[int]:
        return [name.start for name in self.names]

    def name_at(self, place: int, within: int) -> Name | None:
        """The name that begins at `place`, or at most `within` characters after it."""
        index = bisect_left(self._name_starts, place)
        if index < len(self.names) and self.names[index].start - place <= within:
            return self.names[index]
        return None

    @cached_property
    def by_surname(self) -> dict[str, list[Name]]:
        """Full names by surname."""
        result: dict[str, list[Name]] = {}
        for name in self.names:
            result.setdefault(name.surname, []).append(name)
        return result

    @cached_property
    def places(self) -> dict[str, list[int]]:
        """Token numbers of every capitalised word, by folded form."""
        result: dict[str, list[int]] = {}
        for index, (_, _, word) in enumerate(self.tokens):
            if word[0].isupper():
                result.setdefault(fold(word), []).append(index)
        return result

    def describe(self, start: int, end: int) -> str:
        """The noun phrase before a name at `[start, end)` and the apposition after it, if they tell an office."""
        before, after = self.before(start), self.after(end)
        return " | ".join(part for part in (before, after) if part)

    def before(self, start: int) -> str:
        """Words left of a name that belong to its title, from the farthest office or actor on."""
        index = self.index(start) - 1
        best = None
        for back in range(14):
            position = index - back
            if position < 0:
                break
            begin, _, word = self.tokens[position]
            lower = word.lower()
            if (not word[0].isalnum() and word not in "-–") or "\n" in word or lower in BARRIERS:
                break
            if (
                lower in ROLE_WORDS
                or lower.split("-")[-1] in ROLE_WORDS
                or self._term_at(begin)
                or self.lexicon.private(word)
                or self.lexicon.unofficial(word)
            ):
                best = begin
        return self.text[best:start].strip() if best is not None else ""

    def after(self, end: int) -> str:
        """The apposition right of a name: *, the president's aide,* or *of the ministry* or *(head of …)*."""
        index = self.index(end)
        if index >= len(self.tokens):
            return ""
        word = self.tokens[index][2].lower()
        if word in (",", "(", "–", "—"):
            index += 1
        elif word not in ("of", "from", "at"):
            return ""
        start, stop = index, index
        while stop < len(self.tokens) and stop - start < 18:
            token = self.tokens[stop][2]
            lower = token.lower()
            if token in '.,;:()–—“”"«»?!' or "\n" in token or (lower in BARRIERS and lower not in ("in", "on", "at")):
                break
            stop += 1
        if start == stop:
            return ""
        words = self.text[self.tokens[start][0] : self.tokens[stop - 1][1]]
        lowered = set(re.findall(r"[\w-]+", words.lower()))
        if not (lowered & ROLE_WORDS or self.lexicon.private(words)):
            return ""
        first = self.tokens[start][2].lower()
        # A clause is no apposition: it must begin like a noun phrase.
        if not (
            first in ("the", "a", "an", "of", "from", "at", "its", "their", "then", "now", "head")
            or first in ROLE_WORDS
            or self.tokens[start][2][0].isupper()
            or self.lexicon.private(first)
        ):
            return ""
        return words

    def _term_at(self, start: int) -> bool:
        place = bisect_right(self.term_starts, start) - 1
        return place >= 0 and self.terms[place].start <= start < self.terms[place].end


def name_runs(tokens: Sequence[tuple[int, int, str]], terms: Sequence[Term]) -> Iterator[tuple[int, int]]:
    """Runs of capitalised words that may be persons' names: no offices, actors, days or sentence openers alone."""
    covered = [(term.start, term.end) for term in terms]
    starts = [start for start, _ in covered]

    def named(position: int) -> bool:
        start, end, word = tokens[position]
        if not word[0].isupper() or (len(word) > 1 and word.isupper() and len(word) < 4):
            return False
        lower = word.lower().removesuffix("'s").removesuffix("’s")
        if lower in ROLE_WORDS or lower in CALENDAR or lower in TITLES or lower in BARRIERS or lower in OPENERS:
            return False
        place = bisect_right(starts, start) - 1
        return not (place >= 0 and covered[place][1] > start) or end <= start

    position = 0
    while position < len(tokens):
        if not named(position):
            position += 1
            continue
        last = position
        while last + 1 < len(tokens):
            gap = tokens[last + 1][0] - tokens[last][1]
            word = tokens[last + 1][2]
            if gap > 1 or tokens[last][2].endswith(("'s", "’s")):
                break
            if named(last + 1):
                last += 1
            elif (word.lower() in PARTICLES and last + 2 < len(tokens) and named(last + 2)) or (
                word == "." and len(tokens[last][2]) == 1 and last + 2 < len(tokens) and named(last + 2)
            ):
                last += 2
            else:
                break
        end = tokens[last][1]
        word = tokens[last][2]
        if word.endswith(("'s", "’s")):
            end -= 2
        # In *Minister of Emergency Situations Jane Roe* the run holds the office's words too.
        after_of = position > 0 and tokens[position - 1][2].lower() in ("of", "for", "and")
        if last - position >= 3 or (after_of and last - position >= 2):
            position = last - 1
        yield tokens[position][0], end
        position = last + 1
