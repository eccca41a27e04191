import datetime as dt

import numpy as np
import pytest

from onrecord.attribution import Attributor, fold
from onrecord.config import ConflictConfig, load, load_registry, resource_root
from onrecord.extraction import Reading, split_words
from onrecord.records import Article, Quote, Span

ROOT = resource_root()


@pytest.fixture(scope="module")
def attributor():
    conflict = load(ROOT / "configs/conflicts/south-caucasus.yaml", ConflictConfig)
    return Attributor(conflict, load_registry(ROOT / conflict.registry), min_context=1.1)


def resolve(attributor, text, *sources, date=dt.date(2021, 11, 8)):
    """Attribute quotes whose sources are the given words, each looked for after the one before."""
    quotes, place = [], 0
    for source in sources:
        start = text.index(source, place)
        place = start + len(source)
        quotes.append(
            Quote(type="indirect", content=(Span.of(text, len(text) - 1, len(text)),), source=(Span.of(text, start, place),))
        )
    reading = Reading(text, split_words(text), None, ("Armenia", "Azerbaijan", "other"))
    return attributor.attribute(Article(text=text, date=date), quotes, reading)


@pytest.mark.parametrize(
    ("text", "source", "name", "party", "way"),
    [
        ("Azerbaijani Foreign Minister Rauf Talibli said so.", "Azerbaijani Foreign Minister Rauf Talibli", "Rauf Talibli", "Azerbaijan", "words"),
        ("Lilit Tadoyan, spokeswoman for Armenia’s Defence Ministry, said so.", "Lilit Tadoyan, spokeswoman for Armenia’s Defence Ministry", "Lilit Tadoyan", "Armenia", "words"),
        ("The French Co-Chair of the OSCE Minsk Group, Luc Aubrespin, said so.", "The French Co-Chair of the OSCE Minsk Group, Luc Aubrespin", "Luc Aubrespin", "OSCE", "words"),
        ("Russia’s ambassador to Armenia, Lev Shchedrin, said so.", "Russia’s ambassador to Armenia, Lev Shchedrin", "Lev Shchedrin", "Russia", "words"),
        ("Armenian opposition deputy Aram Eloyan said so.", "Armenian opposition deputy Aram Eloyan", "Aram Eloyan", "other", "words"),
        ("Former Azerbaijani minister Rauf Talibli said so.", "Former Azerbaijani minister Rauf Talibli", "Rauf Talibli", "other", "words"),
        ("Ararat Mirzoyan said so.", "Ararat Mirzoyan", "Ararat Mirzoyan", "Armenia", "registry"),
        ("Baku said so.", "Baku", "Azerbaijan", "Azerbaijan", "metonym"),
        ("The Kremlin said so.", "The Kremlin", "Presidential Administration of Russia", "Russia", "metonym"),
        ("Yerevan and Baku agreed so.", "Yerevan and Baku", "Yerevan and Baku", "joint", "words"),
        ("Karabakh Armenian leaders said so.", "Karabakh Armenian leaders", "Karabakh Armenian leaders", "other", "words"),
        ("The US, Russian and French mediators said so.", "The US, Russian and French mediators", "US, Russian and French mediators", "OSCE", "words"),
        ("Aliqmedia.am claimed so.", "Aliqmedia.am", "Aliqmedia.am", "other", "words"),
        ("Zarmik Bolshakidze said so.", "Zarmik Bolshakidze", "Zarmik Bolshakidze", "unknown", "nothing"),
    ],
)  # fmt: skip
def test_ways_to_a_party(attributor, text, source, name, party, way):
    ((speaker, found),) = resolve(attributor, text, source)
    assert (speaker.name, found.label) == (name, party)
    assert found.evidence.startswith(way)


def test_surnames_pronouns_and_roles_go_back_to_the_name(attributor):
    text = (
        "Azerbaijani Deputy Foreign Minister Rauf Talibli said so. Talibli added that. He noted this.\n\n"
        "The Russian Foreign Ministry said so. The ministry denied that. Later the deputy minister said more."
    )
    answers = resolve(
        attributor, text, "Azerbaijani Deputy Foreign Minister Rauf Talibli", "Talibli", "He", "The Russian Foreign Ministry",
        "The ministry", "the deputy minister",
    )  # fmt: skip
    assert [speaker.name for speaker, _ in answers] == ["Rauf Talibli"] * 3 + ["Ministry of Foreign Affairs of Russia"] * 2 + [
        "Rauf Talibli"
    ]
    assert [party.label for _, party in answers] == ["Azerbaijan"] * 3 + ["Russia"] * 2 + ["Azerbaijan"]


def test_the_registry_is_read_at_the_articles_date(attributor):
    for date, office in (
        (dt.date(2021, 3, 1), "Speaker of the National Assembly of Armenia"),
        (dt.date(2022, 3, 1), "Minister of Foreign Affairs of Armenia"),
    ):
        ((speaker, party),) = resolve(attributor, "Mirzoyan said so.", "Mirzoyan", date=date)
        assert (speaker.office, party.label) == (office, "Armenia")
    ((_, party),) = resolve(attributor, "Elmar Mammadyarov said so.", "Elmar Mammadyarov", date=dt.date(2023, 1, 1))
    assert party.label == "unknown"


def test_spellings_of_one_name_meet():
    assert fold("Əliyev") == fold("Aliyev") == fold("Aliev")


def test_the_words_around_a_source_decide_last_and_only_when_sure(attributor):
    conflict = load(ROOT / "configs/conflicts/south-caucasus.yaml", ConflictConfig)
    labels = tuple(label for label in conflict.party_labels if label != "unknown")
    text = "Zarmik Bolshakidze said so."
    quote = Quote(type="indirect", content=(Span.of(text, 24, 26),), source=(Span.of(text, 0, 18),))

    class Sure(Reading):
        def party_scores(self, span):
            return np.log(np.array([0.9, *[0.1 / (len(labels) - 1)] * (len(labels) - 1)]))

    reading = Sure(text, split_words(text), None, labels)
    for least, expected in ((0.8, labels[0]), (0.95, "unknown")):
        sure = Attributor(conflict, load_registry(ROOT / conflict.registry), least)
        ((_, party),) = sure.attribute(Article(text=text), [quote], reading)
        assert party.label == expected
