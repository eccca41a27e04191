"""The acceptance case: the real seed article, which no model has seen."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import pytest

from onrecord import Analyzer, Article
from onrecord.config import resource_root
from onrecord.corpus import read_gold
from onrecord.evaluation import match

ROOT = resource_root()


@pytest.fixture(scope="module")
def gold():
    return read_gold(ROOT / "seeds/000_613e7597b781f811.xml")


@pytest.fixture(scope="module")
def found(analyzer, gold):
    text = (ROOT / "seeds/000_613e7597b781f811.txt").read_bytes().decode("utf-8")
    assert text == gold.article.text
    return analyzer.analyze(Article(text=text, date=dt.date(2021, 11, 8)))


def test_quotes_are_found(gold, found):
    pairs = match(gold.quotes, found)
    assert len(gold.quotes) == 24 and len({quote.speaker for quote in gold.quotes if ";" not in quote.speaker}) == 15
    assert len(pairs) >= 18
    assert len(found) - len(pairs) <= 4


def test_parties_and_stances(gold, found):
    pairs = [(gold.quotes[i], found[j]) for i, j, _ in match(gold.quotes, found)]
    parties = [quote.party == statement.party.label for quote, statement in pairs]
    stances = [quote.stance == statement.stance.label for quote, statement in pairs]
    assert sum(parties) / len(pairs) >= 0.90
    assert sum(stances) / len(pairs) >= 0.65


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("Foreign Minister Jeyhun Bayramov", "Jeyhun Bayramov"),
        ("Kremlin spokesman Dmitry Peskov", "Dmitry Peskov"),
        ("He", "Dmitry Peskov"),
        ("Prime Minister Nikol Pashinyan", "Nikol Pashinyan"),
        ("Overchuk", "Alexei Overchuk"),
        ("the Russian Foreign Ministry", "Ministry of Foreign Affairs of Russia"),
        ("Hajiyev", "Hikmet Hajiyev"),
        ("The ministry", "Ministry of Foreign Affairs of Russia"),
        ("They", "Armenian leaders"),
    ],
)
def test_named_sources_resolve(gold, analyzer, words, name):
    statements = analyzer.complete(gold.article, gold.quotes)
    names = [s.speaker.name for s in statements if s.source and s.source[0].text == words]
    assert names and set(names) == {name}


def test_one_analyzer_serves_several_threads(analyzer: Analyzer, gold, found):
    article = Article(text=gold.article.text, date=dt.date(2021, 11, 8))
    with ThreadPoolExecutor(4) as pool:
        for statements in pool.map(analyzer.analyze, [article] * 8):
            assert statements == found


def test_the_batch_form_is_lazy(analyzer: Analyzer):
    taken = []

    def articles():
        for text in ("Baku insisted that talks go on.", "Nothing."):
            taken.append(text)
            yield Article(text=text)

    results = analyzer.analyze_many(articles())
    assert taken == []
    next(results)
    assert len(taken) == 1
