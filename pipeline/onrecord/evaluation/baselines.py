"""What simple means would answer: the figures that a model has to beat.

All learn from train articles; where there are none, majority and party count the gold articles themselves, which
flatters them, and the learned ones are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from onrecord.attribution.lexicon import Lexicon
from onrecord.config import ConflictConfig
from onrecord.corpus import CorpusError, GoldArticle, GoldQuote, Problem
from onrecord.records import ATTITUDES, NO_STANCE

MODEL, MAJORITY, PARTY, TFIDF, LEXICON = "model", "majority", "party", "tfidf", "lexicon"
TITLES = {
    MODEL: "model",
    MAJORITY: "majority",
    PARTY: "party of the speaker",
    TFIDF: "TF-IDF + logistic regression",
    LEXICON: "lexicon (VADER) + majority",
}
# The band of VADER's compound score that its authors call neutral (Hutto & Gilbert 2014).
VADER_NEUTRAL = 0.05


def words(quote: GoldQuote) -> str:
    """The content as the learned baselines read it."""
    return " ".join(span.text for span in quote.content)


def stance_baselines(gold: Sequence[GoldArticle], train: Sequence[GoldArticle], labels: Sequence[str]) -> dict[str, list[str]]:
    """Answers to the stance of every gold quote, by baseline.

    Raises:
        CorpusError: when the train articles hold one stance only, so that nothing can be learned.
    """
    quotes = [quote for article in gold for quote in article.quotes]
    learned = [quote for article in train for quote in article.quotes]
    counts = Counter(quote.stance for quote in learned or quotes)
    most = max(labels, key=lambda label: counts[label])
    result = {
        MAJORITY: [most] * len(quotes),
        PARTY: [quote.party if quote.party in labels else NO_STANCE for quote in quotes],
    }
    if learned:
        if len(counts) < 2:
            message = (
                f"all train quotes have the stance {most!r}; a baseline can't learn from one class. Name others with --train"
            )
            raise CorpusError([Problem(train[0].path, 1, message)])
        result[TFIDF] = _tfidf(learned, [quote.stance for quote in learned], quotes)
    return result


def toward_baselines(
    gold: Sequence[GoldArticle], train: Sequence[GoldArticle], conflict: ConflictConfig
) -> dict[str, list[dict[str, str]]]:
    """Answers to the attitudes of every gold quote, by baseline.

    The party baseline gives each speaker's party its most frequent attitude to each target. The lexicon gives VADER's
    polarity of the content toward the targets that the content names, and the majority toward the others.
    """
    quotes = [quote for article in gold for quote in article.quotes]
    learned = [quote for article in train for quote in article.quotes]
    most = {target: _most(Counter(_attitude(q, target) for q in learned or quotes)) for target in conflict.targets}
    by_party: dict[tuple[str, str], Counter[str]] = {}
    for quote in learned or quotes:
        for target in conflict.targets:
            by_party.setdefault((quote.party, target), Counter())[_attitude(quote, target)] += 1
    result: dict[str, list[dict[str, str]]] = {
        MAJORITY: [most for _ in quotes],
        PARTY: [
            {t: _most(by_party[quote.party, t]) if (quote.party, t) in by_party else most[t] for t in conflict.targets}
            for quote in quotes
        ],
        LEXICON: _polarity(quotes, conflict, most),
    }
    if learned:
        answers = {}
        for target in conflict.targets:
            attitudes = [_attitude(quote, target) for quote in learned]
            fitted = len(set(attitudes)) > 1
            answers[target] = _tfidf(learned, attitudes, quotes) if fitted else [most[target]] * len(quotes)
        result[TFIDF] = [{target: answers[target][i] for target in conflict.targets} for i in range(len(quotes))]
    return {name: result[name] for name in (MAJORITY, PARTY, TFIDF, LEXICON) if name in result}


def _attitude(quote: GoldQuote, target: str) -> str:
    return quote.toward.get(target, "neutral")


def _most(counts: Mapping[str, int]) -> str:
    """The most frequent attitude; of equals, neutral."""
    return max(reversed(ATTITUDES), key=lambda attitude: counts[attitude])


def _polarity(quotes: Sequence[GoldQuote], conflict: ConflictConfig, most: Mapping[str, str]) -> list[dict[str, str]]:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    vader, lexicon = SentimentIntensityAnalyzer(), Lexicon(conflict)
    result = []
    for quote in quotes:
        text = words(quote)
        score = vader.polarity_scores(text)["compound"]
        label = "favor" if score >= VADER_NEUTRAL else "against" if score <= -VADER_NEUTRAL else "neutral"
        named = {term.party for term in lexicon.find(text)}
        result.append({target: label if target in named else most[target] for target in conflict.targets})
    return result


def _tfidf(learned: Sequence[GoldQuote], labels: Sequence[str], quotes: Sequence[GoldQuote]) -> list[str]:
    return tfidf([words(quote) for quote in learned], labels, [words(quote) for quote in quotes])


def tfidf(learned: Sequence[str], labels: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Labels for the texts `asked` from words and pairs of words of the `learned` ones: TF-IDF and logistic regression.

    From a hundred texts on, words and pairs count that occur in two or more. `labels` holds at least two different ones.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    if not asked:
        return []
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2 if len(learned) >= 100 else 1),
        LogisticRegression(max_iter=2000, class_weight="balanced", C=4.0),
    )
    return [str(label) for label in model.fit(learned, labels).predict(asked)]
