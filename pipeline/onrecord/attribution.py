"""Quotes → speakers and parties: names, roles and pronouns resolved in the text, parties by recorded evidence.

The party of a speaker comes from, in this order of trust: the *words* beside the mention, the *registry* at
the article's date, a *metonym* or body, the group's other *mention*; last the *context*, when the extraction
model is sure of it from the words around the source. What none of these tells stays `unknown`. Which way
decided is in the output.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from onrecord.config import ConflictConfig, Names, RegistryConfig, RegistryEntry
from onrecord.extraction import Reading
from onrecord.inference import softmax
from onrecord.records import JOINT, OTHER, UNKNOWN, Article, Party, Quote, Span, Speaker

SpeakerKind = Literal["person", "body", "group", "document", "unknown"]

PRONOUNS_ONE = {"he", "she", "him", "her", "i"}
PRONOUNS_MANY = {"they", "we", "them", "both", "the two", "the pair", "the two sides", "both sides"}
PRONOUNS_BODY = {"it", "its", "which"}

# Nouns and titles of offices in English: a name beside one of them is a person in that office.
_OFFICES = frozenset(
    """
    minister ministers premier president presidents spokesman spokeswoman spokesperson spokespeople ambassador
    ambassadors envoy envoys representative representatives delegate delegation speaker secretary chair chairman
    chairwoman chairperson co-chair co-chairs cochair head heads chief director deputy deputies vice-speaker
    adviser advisor advisers aide assistant ombudsman ombudswoman ombudsperson defender commander colonel
    general major lieutenant captain sergeant officer officers corporal private admiral governor mayor
    prosecutor judge justice lawmaker lawmakers mp mps legislator parliamentarian senator congressman
    congresswoman commissioner mediator mediators negotiator negotiators diplomat diplomats official officials
    member members leader leaders chancellor counsellor counselor attaché attache rapporteur monitor monitors
    observer coordinator inspector administrator agent consul plenipotentiary soldier soldiers serviceman
    press-secretary press-service undersecretary emissary prefect chargé deputy-head elder councillor councilor
    chaplain conscript reservist gunner sapper engineer surveyor cartographer
    """.split()
)
_BODIES = frozenset(
    """
    ministry ministries government parliament army military office service services agency committee commission
    council assembly contingent command administration authorities side group court presidency department
    embassy mission secretariat party faction bloc union centre center headquarters board bureau directorate
    police forces fund staff
    """.split()
)
_DOCUMENTS = frozenset(
    """
    statement communiqué communique declaration report letter document text note resolution decree bulletin
    release paper memorandum message post readout read-out transcript summary briefing dispatch protocol article
    tweet ruling order judgment
    """.split()
)
_TITLES = {
    "mr",
    "mrs",
    "ms",
    "dr",
    "prof",
    "gen",
    "col",
    "maj",
    "lt",
    "capt",
    "sgt",
    "sir",
    "lord",
    "baroness",
    "father",
}
_FEMALE = {
    "spokeswoman",
    "chairwoman",
    "ombudswoman",
    "congresswoman",
    "mrs",
    "ms",
    "mother",
    "widow",
    "daughter",
    "sister",
    "baroness",
    "wife",
}
_MALE = {"spokesman", "chairman", "congressman", "mr", "father", "widower", "son", "brother", "serviceman", "husband"}
# Words that no noun phrase before a name runs across.
_BARRIERS = frozenset(
    """
    said says say told tells tell added adds that which who whom whose when where while whereas because although
    though if but or as than then with by from after before during since until into onto upon through is are was
    were be been being has have had having will would shall should can could may might must do does did met
    meets meeting accused called calls asked asks urged thanked blamed quoted quoting according against between
    about over under he she they it we i his him her them there here this these those what how why not no yes
    also still only just even more most in at on
    """.split()
)
_TARGETS = {
    "to",
    "in",
    "on",
    "with",
    "against",
    "between",
    "over",
    "near",
    "about",
    "into",
    "towards",
    "toward",
    "versus",
}
# A place before one of these is where somebody works, not for whom.
_SITES = re.compile(
    r"(?:[- ]based|\s+(?:liaison|office|offices|bureau|correspondent|residents?|suburb|hotel|airport|university|court))\b",
    re.IGNORECASE,
)
_PARTICLES = {"de", "van", "von", "der", "den", "la", "le", "al", "bin", "ter", "ten", "du", "da", "di", "el"}
_CALENDAR = frozenset(
    """
    monday tuesday wednesday thursday friday saturday sunday january february march april may june july august
    september october november december
    """.split()
)

_STATE_BODY = re.compile(r"\b(?:ministry|embassy|secretariat|government|prosecutor|general staff|armed forces)\b", re.IGNORECASE)
# *adviser to the president* speaks for the president; *ambassador to France* does not speak for France.
_SERVES = {
    "adviser",
    "advisor",
    "aide",
    "assistant",
    "counsel",
    "counsellor",
    "secretary",
    "spokesman",
    "spokeswoman",
    "spokesperson",
    "deputy",
}
# A relative clause tells no office, unless its verb is one that offices are told with.
_CLAUSE = re.compile(
    r",?\s+(?:who|which|whose|whom)\b(?!\s+(?:heads?|leads?|chairs?|runs?|represents?|directs?|commands?|headed|led|speaks)\b)"
)
_TOKEN = re.compile(r"\w+(?:[’'\-‐.]\w+)*|[^\w\s]|\n\s*\n")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[”\"’»)]*\s+(?=[“\"«„A-ZÀ-Ž—–-])|\n\s*\n")
_ROLE_WORDS = {*_OFFICES, *_BODIES}


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
        words = _CLAUSE.split(words)[0]
        terms = [
            term
            for term in self.find(words)
            if not self._is_target(words, term) and not (term.kind == "metonym" and _SITES.match(words, term.end))
        ]
        if self.unofficial(words):
            return OTHER, None
        official = any(term.kind == "body" or term.priority for term in terms) or _STATE_BODY.search(words)
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
        if len(before) > 1 and before[-1] == "to" and before[-2] in _SERVES:
            return False
        if before and before[-1] == "in" and term.kind in ("demonym", "body"):
            return False
        return bool(before) and before[-1] in _TARGETS and len(words[: term.start].split()) > 1


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


@dataclass(frozen=True)
class Resolved:
    """One source's answer."""

    speaker: Speaker
    party: Party
    start: int = 0
    many: bool = False


def fold(name: str) -> str:
    """A name without case, accents and the spellings that transliterations differ in."""
    plain = name.casefold().replace("ə", "a").replace("ı", "i").replace("’", "'")
    plain = "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))
    return re.sub(r"'s$|[.'\-]", "", plain).replace("yev", "ev").replace("iy", "y").replace("ii", "y")


class _Text:
    """One article with its tokens, sentences and names, indexed for look-ups from any place."""

    def __init__(self, text: str, lexicon: Lexicon) -> None:
        self.text, self.lexicon = text, lexicon
        self.tokens = [(match.start(), match.end(), match.group()) for match in _TOKEN.finditer(text)]
        self._starts = [token[0] for token in self.tokens]
        breaks = [match.end() for match in _SENTENCE_END.finditer(text)]
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
            if (not word[0].isalnum() and word not in "-–") or "\n" in word or lower in _BARRIERS:
                break
            if (
                lower in _ROLE_WORDS
                or lower.split("-")[-1] in _ROLE_WORDS
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
            if token in '.,;:()–—“”"«»?!' or "\n" in token or (lower in _BARRIERS and lower not in ("in", "on", "at")):
                break
            stop += 1
        if start == stop:
            return ""
        words = self.text[self.tokens[start][0] : self.tokens[stop - 1][1]]
        lowered = set(re.findall(r"[\w-]+", words.lower()))
        if not (lowered & _ROLE_WORDS or self.lexicon.private(words)):
            return ""
        first = self.tokens[start][2].lower()
        # A clause is no apposition: it must begin like a noun phrase.
        if not (
            first in ("the", "a", "an", "of", "from", "at", "its", "their", "then", "now", "head")
            or first in _ROLE_WORDS
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
        if lower in _ROLE_WORDS or lower in _CALENDAR or lower in _TITLES or lower in _BARRIERS or lower in _OPENERS:
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
            elif (word.lower() in _PARTICLES and last + 2 < len(tokens) and named(last + 2)) or (
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


_OPENERS = frozenset(
    """
    the a an in on at for from of and but if when while after before as this that these those it its he she they
    we i our his her their there here what why how who which where yes no not only both each every all some many
    most one two three four five six seven eight nine ten first second last next earlier later meanwhile however
    speaking asked according despite since until under over by with without to foreign defense defence interior
    prime deputy vice special permanent senior federal national state central supreme constitutional north south
    east west northern southern eastern western new great international joint human rights affairs security
    mount lake river highway street square corridor region province district village city republic caucasus
    """.split()
)


@dataclass
class _Person:
    """What the article says of one person, by surname."""

    name: str
    descriptions: list[tuple[int, str]] = field(default_factory=list)


class Attributor:
    """Resolves sources with one conflict and its registry."""

    def __init__(self, conflict: ConflictConfig, registry: RegistryConfig, min_context: float) -> None:
        self.min_context = min_context
        self._lexicon = Lexicon(conflict)
        self._by_name: dict[str, list[RegistryEntry]] = {}
        self._by_surname: dict[str, list[RegistryEntry]] = {}
        for entry in registry.entries:
            for name in (entry.name, *entry.aliases):
                self._by_name.setdefault(_key(name), []).append(entry)
            if entry.kind == "person":
                self._by_surname.setdefault(fold(entry.name.split()[-1]), []).append(entry)

    def attribute(self, article: Article, quotes: Sequence[Quote], reading: Reading) -> list[tuple[Speaker, Party]]:
        """Speaker and party of each of the article's `quotes`, in their order.

        `reading` is the article as the extraction model read it; it decides only where nothing else does.
        """
        return _Article(self, self._lexicon, article, quotes, reading).resolve()

    def registered(self, name: str, article: Article, *, surname: bool) -> RegistryEntry | None:
        """The registry's entry for a name at the article's date.

        A surname alone counts when all who bear it and are in office then are one person.
        """
        entries = self._by_surname.get(fold(name), []) if surname else self._by_name.get(_key(name), [])
        held = [entry for entry in entries if entry.holds_on(article.date)]
        if article.date is None and not held:
            held = entries
        if len({(entry.name, entry.party) for entry in held}) != 1:
            return None
        return held[-1]


def _key(name: str) -> str:
    return " ".join(fold(part) for part in name.split())


class _Article:
    """The resolution of one article's sources, from its beginning to its end."""

    def __init__(
        self, attributor: Attributor, lexicon: Lexicon, article: Article, quotes: Sequence[Quote], reading: Reading
    ) -> None:
        self.reading = reading
        self.attributor, self.lexicon, self.article, self.quotes = attributor, lexicon, article, quotes
        self.view = _Text(article.text, lexicon)
        self.done: list[Resolved] = []

    def resolve(self) -> list[tuple[Speaker, Party]]:
        order = sorted(range(len(self.quotes)), key=lambda i: self._place(self.quotes[i]))
        answers: dict[int, Resolved] = {}
        for index in order:
            quote = self.quotes[index]
            answer = self._source(quote.source[0]) if quote.source else _UNKNOWN
            answers[index] = answer
            if answer.speaker.kind != "unknown":
                self.done.append(answer)
        return self._by_context([(answers[i].speaker, answers[i].party) for i in range(len(self.quotes))])

    def _by_context(self, answers: list[tuple[Speaker, Party]]) -> list[tuple[Speaker, Party]]:
        """Give speakers whose party nothing tells the one that the words around all their mentions tell, if sure."""
        totals: dict[str, np.ndarray] = {}
        for quote, (speaker, party) in zip(self.quotes, answers, strict=True):
            if party.label == UNKNOWN and quote.source and speaker.kind != "unknown":
                scores = self.reading.party_scores(quote.source[0])
                totals[speaker.name] = totals.get(speaker.name, 0) + scores
        result = []
        for speaker, party in answers:
            if party.label == UNKNOWN and speaker.name in totals:
                probabilities = softmax(totals[speaker.name])
                best = int(probabilities.argmax())
                if probabilities[best] >= self.attributor.min_context:
                    label = self.reading.party_labels[best]
                    party = Party(label=label, evidence=f"context: the words around the source, {probabilities[best]:.2f}")
            result.append((speaker, party))
        return result

    @staticmethod
    def _place(quote: Quote) -> int:
        return (quote.source or quote.content)[0].start

    def _source(self, source: Span) -> Resolved:
        if source.text.endswith(("'s", "’s")) and len(source.text) > 2:
            source = Span.of(self.article.text, source.start, source.end - 2)
        words = re.sub(r"\s+", " ", source.text).strip()
        lower = words.lower().strip(",.")
        if lower in PRONOUNS_ONE | PRONOUNS_MANY | PRONOUNS_BODY:
            return self._pronoun(source, lower)
        names = self._names_in(source)
        if names:
            people = [self._person(source, start, end, single=len(names) == 1) for start, end in names]
            if len(people) > 1 and not re.search(r"\band\b|[,;&]", words):
                people = people[:1]
            return _together(people)
        return self._body_or_role(source, words)

    def _names_in(self, source: Span) -> list[tuple[int, int]]:
        """Persons named as speakers in a source; a possessor (*Aliyev's aide*) or an apposition's name is not one."""
        view = self.view
        low, high = view.index(source.start), view.index(source.end)
        near = self.lexicon.find(source.text)
        shifted = [Term(t.start + source.start, t.end + source.start, t.party, t.kind, t.speaker, t.priority) for t in near]
        runs = [
            (start, end)
            for start, end in name_runs(view.tokens[low:high], shifted)
            if self._is_person(start, end, source) and view.text[end : end + 2] not in ("'s", "’s")
        ]
        if len(runs) < 2:
            return runs
        first_end = runs[0][1]
        kept = [runs[0]]
        for start, end in runs[1:]:
            between = view.text[first_end:start]
            # After a comma the rest describes the first name, unless an "and" adds another one.
            if re.search(r"\b(and|with)\b|&", between) and not re.match(r",?\s*(the|a|an|of)\b[^,]*$", between):
                kept.append((start, end))
            first_end = end
        return kept

    def _is_person(self, start: int, end: int, source: Span) -> bool:
        text = self.view.text[start:end]
        words = text.split()
        if any(word[0].islower() and word not in _PARTICLES for word in words):
            return False
        surname = fold(words[-1])
        if surname in self.view.by_surname or len(words) > 1:
            return True
        if surname in self.attributor._by_surname:
            return True
        bare = source.text.strip(" ,") == text
        return bare and text[0].isupper() and not text.isupper()

    def _person(self, source: Span, start: int, end: int, *, single: bool) -> Resolved:
        view, article = self.view, self.article
        text = view.text[start:end]
        surname = fold(text.split()[-1])
        fulls = view.by_surname.get(surname, [])
        full = next((name for name in fulls if name.start <= start), None) or (fulls[0] if fulls else None)
        name = text if " " in text or full is None else full.text
        if (
            " " in text
            and full is not None
            and len(full.text.split()) >= len(text.split())
            and fold(full.text.split()[0]) == fold(text.split()[0])
        ):
            name = full.text
        own = view.describe(start, end)
        if single:
            inner = f"{source.text[: start - source.start]} | {source.text[end - source.start :]}"
            own = f"{own} | {inner}"
        office = _office(own)
        entry = self.attributor.registered(name, article, surname=" " not in name)
        registry_id = entry.id if entry else None
        mentions = [
            (other.description, other.start)
            for other in fulls
            if other.start != start and other.description and fold(other.text.split()[0]) == fold(name.split()[0])
        ]
        mentions += self._surname_descriptions(surname, start)

        def answer(label: str, evidence: str) -> Resolved:
            told = office or next((o for d, _ in mentions if (o := _office(d))), None) or (entry.office if entry else None)
            speaker = Speaker(name=entry.name if entry else name, kind="person", office=told, registry_id=registry_id)
            return Resolved(speaker, Party(label=label, evidence=evidence), start)

        found = self._describe_party(own)
        if found:
            return answer(found, f"words: {_short(own)}")
        if entry:
            return answer(entry.party, f"registry: {entry.id}")
        for description, _ in mentions:
            found = self._describe_party(description)
            if found:
                return answer(found, f"mention: {_short(description)}")
        return answer(UNKNOWN, f"nothing tells for whom {name} speaks")

    def _surname_descriptions(self, surname: str, start: int) -> list[tuple[str, int]]:
        result = []
        for index in self.view.places.get(surname, [])[:50]:
            begin, end, _ = self.view.tokens[index]
            if begin != start and (description := self.view.describe(begin, end)):
                result.append((description, begin))
        return result

    def _describe_party(self, description: str) -> str | None:
        """The party told by a description; what stands nearest to the name (its title) decides first."""
        for part in description.split(" | "):
            found = self.lexicon.party(part) if part.strip(" ,") else None
            if found:
                return found[0]
        return None

    def _pronoun(self, source: Span, pronoun: str) -> Resolved:
        view = self.view
        if pronoun in PRONOUNS_MANY:
            fitting = [r for r in self.done if r.many or r.speaker.kind in ("group", "body")]
        elif pronoun in PRONOUNS_BODY:
            fitting = [r for r in self.done if r.speaker.kind in ("body", "document", "group")]
        else:
            fitting = [r for r in self.done if r.speaker.kind == "person" and not r.many and _gender_fits(r, pronoun)]
        spoken = fitting[-1] if fitting else None
        if pronoun in PRONOUNS_ONE:
            named = self._named_before(source.start, pronoun)
            if named is not None and (spoken is None or named[0] > spoken.start):
                resolved = self._person(Span.of(view.text, *named), named[0], named[1], single=True)
                if resolved.speaker.name != (spoken.speaker.name if spoken else None):
                    return _again(resolved, source.start)
        if spoken is None:
            spoken = self.done[-1] if self.done and pronoun in PRONOUNS_MANY | PRONOUNS_BODY else None
        if spoken is None:
            return _UNKNOWN
        return _again(spoken, source.start)

    def _named_before(self, place: int, pronoun: str) -> tuple[int, int] | None:
        """The person that the sentence before a pronoun is about: its first name, or its own sentence's."""
        view = self.view
        number = view.sentence(place)
        for sentence in range(number, max(-1, number - 4), -1):
            low, high = view.sentences[sentence], min(view.sentences[sentence + 1], place)
            first, last = view.index(low), view.index(high)
            terms = view.terms[bisect_left(view.term_starts, low) : bisect_left(view.term_starts, high)]
            for start, end in name_runs(view.tokens[first:last], terms):
                words = view.text[start:end].split()
                known = fold(words[-1]) in view.by_surname or fold(words[-1]) in self.attributor._by_surname
                person = known and (len(words) > 1 or fold(words[-1]) in view.by_surname)
                if not person or view.text[end : end + 2] in ("'s", "’s"):
                    continue
                described = set(re.findall(r"[\w-]+", view.describe(start, end).lower()))
                if (pronoun == "she" and described & _MALE) or (pronoun == "he" and described & _FEMALE):
                    continue
                return start, end
        return None

    def _body_or_role(self, source: Span, words: str) -> Resolved:
        view = self.view
        tokens = re.findall(r"[\w-]+", words.lower())
        documents = [token for token in tokens if token in _DOCUMENTS]
        found = self.lexicon.party(words)
        around = view.before(source.start)
        if {"joint", "trilateral"} & set(tokens) and (documents or not found):
            return Resolved(
                Speaker(name=_plain(words), kind="document" if documents else "group"),
                Party(label=JOINT, evidence=f"words: {_short(words)}"),
                source.start,
                many=True,
            )
        if found:
            label, term = found
            kind: SpeakerKind = "document" if documents and tokens and tokens[-1] in _DOCUMENTS else "group"
            name = words
            if term is not None and label != JOINT:
                rest = (words[: term.start] + words[term.end :]).lower().strip(" ,.")
                if term.kind in ("metonym", "body", "name") and rest.removesuffix("'s").removesuffix("’s") in (
                    "",
                    "the",
                    "official",
                ):
                    kind, name = "body", term.speaker
                elif set(tokens) & set(_BODIES):
                    kind, name = "body", self._canonical(words, term)
            if kind == "group" and label not in (JOINT, OTHER) and tokens and tokens[-1] in _OFFICES and tokens[-1][-1] != "s":
                holder = self._holder(words, label)
                if holder:
                    return Resolved(holder, Party(label=label, evidence=f"words: {_short(words)}"), source.start)
            way = "metonym" if term is not None and kind == "body" and term.kind == "metonym" else "words"
            many = label == JOINT or (bool(tokens) and tokens[-1].endswith("s"))
            return Resolved(
                Speaker(name=_plain(name), kind=kind),
                Party(label=label, evidence=f"{way}: {_short(words)}"),
                source.start,
                many,
            )
        earlier = self._same_role(source, tokens)
        if earlier:
            return earlier
        if around and (outer := self.lexicon.party(around)):
            return Resolved(
                Speaker(name=_plain(words), kind="group"),
                Party(label=outer[0], evidence=f"words: {_short(around + ' ' + words)}"),
                source.start,
            )
        apposition = view.after(source.end)
        if apposition and (outer := self.lexicon.party(apposition)):
            return Resolved(
                Speaker(name=_plain(words), kind="group"),
                Party(label=outer[0], evidence=f"words: {_short(words + ', ' + apposition)}"),
                source.start,
            )
        kind = "document" if documents else "body" if set(tokens) & set(_BODIES) else "group"
        if documents and self.done:
            last = self.done[-1]
            if view.paragraph_start(last.start) >= view.paragraph_start(max(0, view.paragraph_start(source.start) - 1)):
                return Resolved(
                    last.speaker,
                    Party(label=last.party.label, evidence=f"mention: {last.speaker.name}"),
                    source.start,
                    last.many,
                )
        return Resolved(
            Speaker(name=_plain(words), kind=kind),
            Party(label=UNKNOWN, evidence=f"nothing tells for whom {_short(words)} speaks"),
            source.start,
        )

    def _canonical(self, words: str, term: Term) -> str:
        """A body's canonical name where the words are one of its aliases, else the words."""
        for other in self.lexicon.find(words):
            if other.kind == "body":
                return other.speaker
        return words

    def _holder(self, words: str, label: str) -> Speaker | None:
        """The person of the article who was given this office, or the registry's holder of it at the date."""
        wanted = _head(words)
        if wanted is None or words.lower().startswith(("a ", "an ")):
            return None
        for earlier in reversed(self.done):
            if (
                earlier.speaker.kind == "person"
                and earlier.party.label == label
                and wanted in _heads(earlier.speaker.office or "")
            ):
                return earlier.speaker
        return None

    def _same_role(self, source: Span, tokens: Sequence[str]) -> Resolved | None:
        """The last earlier mention that bears the same office or body noun (*the ministry*, *the envoy*)."""
        view = self.view
        head = next((token for token in reversed(tokens) if token in _ROLE_WORDS), None)
        if head is None:
            return None
        for earlier in reversed(self.done):
            if head in _heads(earlier.speaker.office or "") | _heads(earlier.speaker.name):
                return _again(earlier, source.start)
        stem = head.rstrip("s")
        low = max(0, source.start - 6000)
        best: Resolved | None = None
        for match in re.finditer(rf"\b{re.escape(stem)}\w*", view.text[low : source.start], re.IGNORECASE):
            start = low + match.start()
            phrase = (view.before(start) + " " + match.group()).strip()
            found = self.lexicon.party(phrase)
            if not found:
                continue
            label, term = found
            person = next((name for name in view.names if 0 <= name.start - (low + match.end()) <= 2), None)
            if person is not None:
                best = _again(
                    self._person(Span.of(view.text, person.start, person.end), person.start, person.end, single=True),
                    source.start,
                )
            elif term is not None:
                best = Resolved(
                    Speaker(name=self._canonical(phrase, term), kind="body" if head in _BODIES else "group"),
                    Party(label=label, evidence=f"mention: {_short(phrase)}"),
                    source.start,
                )
        if best is None and head in _OFFICES:
            people = [r for r in self.done if r.speaker.kind == "person" and not r.many]
            near = people[-1] if people else None
            if near and view.sentence(source.start) - view.sentence(near.start) <= 4:
                best = _again(near, source.start)
        return best


def _heads(words: str) -> set[str]:
    return {token for token in re.findall(r"[\w-]+", words.lower()) if token in _ROLE_WORDS}


def _head(words: str) -> str | None:
    found = [token for token in re.findall(r"[\w-]+", words.lower()) if token in _ROLE_WORDS]
    return found[-1] if found else None


def _gender_fits(resolved: Resolved, pronoun: str) -> bool:
    words = set(re.findall(r"[\w-]+", (resolved.speaker.office or "").lower()))
    return not ((pronoun == "she" and words & _MALE) or (pronoun == "he" and words & _FEMALE))


def _again(resolved: Resolved, start: int) -> Resolved:
    """The same speaker, referred to again at `start`: the party then rests on the earlier mention."""
    evidence = resolved.party.evidence
    if resolved.party.label != UNKNOWN and not evidence.startswith(("mention:", "registry:", "context:")):
        evidence = "mention: " + evidence.split(": ", 1)[-1]
    return Resolved(resolved.speaker, Party(label=resolved.party.label, evidence=evidence), start, resolved.many)


def _together(people: Iterable[Resolved]) -> Resolved:
    """Several speakers of one quote: one party if they share it, `joint` if two declared ones meet."""
    group = list(people)
    if len(group) == 1:
        return group[0]
    labels = list(dict.fromkeys(person.party.label for person in group))
    known = [label for label in labels if label != UNKNOWN]
    joint = len([label for label in known if label != OTHER]) > 1
    label = JOINT if joint else known[0] if known else UNKNOWN
    return Resolved(
        Speaker(name="; ".join(person.speaker.name for person in group), kind="group"),
        Party(label=label, evidence="; ".join(person.party.evidence for person in group)),
        group[0].start,
        many=True,
    )


def _office(description: str) -> str | None:
    """The part of a description that tells an office, tidied."""
    for part in description.split(" | "):
        if set(re.findall(r"[\w-]+", part.lower())) & _ROLE_WORDS:
            return _short(re.sub(r"^(?:the|a|an|of)\s+", "", re.sub(r"\s+", " ", part).strip(" ,–—-()"), flags=re.IGNORECASE))
    return None


def _plain(words: str) -> str:
    return re.sub(r"^(?:the)\s+", "", words.strip(" ,"), flags=re.IGNORECASE) or words


def _short(words: str, limit: int = 100) -> str:
    tidy = re.sub(r"\s+", " ", words).strip(" |,")
    return tidy if len(tidy) <= limit else tidy[: limit - 1] + "…"


_UNKNOWN = Resolved(Speaker(name=UNKNOWN, kind="unknown"), Party(label=UNKNOWN, evidence="no source stands in the text"))
