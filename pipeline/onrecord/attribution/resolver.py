"""Sources → speakers and parties, from an article's beginning to its end."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from onrecord.attribution.english import (
    BODIES,
    DOCUMENTS,
    FEMALE,
    MALE,
    OFFICES,
    PARTICLES,
    PRONOUNS_BODY,
    PRONOUNS_MANY,
    PRONOUNS_ONE,
    ROLE_WORDS,
)
from onrecord.attribution.lexicon import Lexicon, Term
from onrecord.attribution.text import TextView, fold, name_runs
from onrecord.config import ConflictConfig, RegistryConfig, RegistryEntry
from onrecord.extraction import Reading
from onrecord.inference import softmax
from onrecord.records import JOINT, OTHER, UNKNOWN, Article, Party, Quote, Span, Speaker

# A medium that goes by its address (*Aliqmedia.am*).
_SITE_NAME = re.compile(r"[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|info|[a-z]{2})")

# How many earlier sources a role (*the envoy*) may go back to.
MEMORY = 200

SpeakerKind = Literal["person", "body", "group", "document", "unknown"]


@dataclass(frozen=True)
class Resolved:
    """One source's answer."""

    speaker: Speaker
    party: Party
    start: int = 0
    many: bool = False


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
        self.view = TextView(article.text, lexicon)
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
        if _SITE_NAME.fullmatch(words):
            return Resolved(
                Speaker(name=words, kind="body"), Party(label=OTHER, evidence=f"words: the web site {words}"), source.start
            )
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
        if any(word[0].islower() and word not in PARTICLES for word in words):
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
            # The source's own words come first: they hold the whole title, of which the text before a name shows the end.
            own = f"{source.text[: start - source.start]} | {own} | {source.text[end - source.start :]}"
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
        """The party told by a description: a name with priority in any part of it, else what its first part tells."""
        told = [found for part in description.split(" | ") if part.strip(" ,") and (found := self.lexicon.party(part))]
        first = next((found for found in told if found[1] is not None and found[1].priority), told[0] if told else None)
        return first[0] if first else None

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
                if (pronoun == "she" and described & MALE) or (pronoun == "he" and described & FEMALE):
                    continue
                return start, end
        return None

    def _body_or_role(self, source: Span, words: str) -> Resolved:
        view = self.view
        tokens = re.findall(r"[\w-]+", words.lower())
        documents = [token for token in tokens if token in DOCUMENTS]
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
            kind: SpeakerKind = "document" if documents and tokens and tokens[-1] in DOCUMENTS else "group"
            name = words
            if term is not None and label != JOINT:
                rest = (words[: term.start] + words[term.end :]).lower().strip(" ,.")
                if term.kind in ("metonym", "body", "name") and rest.removesuffix("'s").removesuffix("’s") in (
                    "",
                    "the",
                    "official",
                ):
                    kind, name = "body", term.speaker
                elif set(tokens) & set(BODIES):
                    kind, name = "body", self._canonical(words, term)
            if kind == "group" and label not in (JOINT, OTHER) and tokens and tokens[-1] in OFFICES and tokens[-1][-1] != "s":
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
        kind = "document" if documents else "body" if set(tokens) & set(BODIES) else "group"
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
        for earlier in reversed(self.done[-MEMORY:]):
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
        head = next((token for token in reversed(tokens) if token in ROLE_WORDS), None)
        if head is None:
            return None
        for earlier in reversed(self.done[-MEMORY:]):
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
            person = view.name_at(low + match.end(), within=2)
            if person is not None:
                best = _again(
                    self._person(Span.of(view.text, person.start, person.end), person.start, person.end, single=True),
                    source.start,
                )
            elif term is not None:
                best = Resolved(
                    Speaker(name=self._canonical(phrase, term), kind="body" if head in BODIES else "group"),
                    Party(label=label, evidence=f"mention: {_short(phrase)}"),
                    source.start,
                )
        if best is None and head in OFFICES:
            people = [r for r in self.done if r.speaker.kind == "person" and not r.many]
            near = people[-1] if people else None
            if near and view.sentence(source.start) - view.sentence(near.start) <= 4:
                best = _again(near, source.start)
        return best


def _heads(words: str) -> set[str]:
    return {token for token in re.findall(r"[\w-]+", words.lower()) if token in ROLE_WORDS}


def _head(words: str) -> str | None:
    found = [token for token in re.findall(r"[\w-]+", words.lower()) if token in ROLE_WORDS]
    return found[-1] if found else None


def _gender_fits(resolved: Resolved, pronoun: str) -> bool:
    words = set(re.findall(r"[\w-]+", (resolved.speaker.office or "").lower()))
    return not ((pronoun == "she" and words & MALE) or (pronoun == "he" and words & FEMALE))


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
        if set(re.findall(r"[\w-]+", part.lower())) & ROLE_WORDS:
            return _short(re.sub(r"^(?:the|a|an|of)\s+", "", re.sub(r"\s+", " ", part).strip(" ,–—-()"), flags=re.IGNORECASE))
    return None


def _plain(words: str) -> str:
    return re.sub(r"^(?:the)\s+", "", words.strip(" ,"), flags=re.IGNORECASE) or words


def _short(words: str, limit: int = 100) -> str:
    tidy = re.sub(r"\s+", " ", words).strip(" |,")
    return tidy if len(tidy) <= limit else tidy[: limit - 1] + "…"


_UNKNOWN = Resolved(Speaker(name=UNKNOWN, kind="unknown"), Party(label=UNKNOWN, evidence="no source stands in the text"))
