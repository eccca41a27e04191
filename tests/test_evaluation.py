"""Tiny articles by hand, with figures that can be worked out on paper."""

from __future__ import annotations

import datetime as dt
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from onrecord.article import ArticleError
from onrecord.cli import app
from onrecord.config import AnalyzeConfig, ConflictConfig, load, resource_root
from onrecord.corpus import CorpusError, GoldArticle, GoldQuote
from onrecord.evaluation import STAGES, bootstrap, evaluate, macro_f1, markdown, match, write_evaluation
from onrecord.evaluation.baselines import stance_baselines, toward_baselines
from onrecord.evaluation.calibration import calibration
from onrecord.evaluation.compare import compare, compare_markdown
from onrecord.evaluation.counterfactual import NameSwap, counterfactual
from onrecord.evaluation.predictions import read_predictions
from onrecord.evaluation.shares import powered_ratio, shares, shares_markdown
from onrecord.evaluation.statistics import Resampler, accuracy_of, confusions, f1_of, macro_f1_of, mcc_of
from onrecord.records import (
    Article,
    Judgement,
    Party,
    Quote,
    RecordError,
    Span,
    Speaker,
    StanceJudgement,
    Statement,
    is_divergent,
)

CONFLICT = load(resource_root() / "configs/conflicts/south-caucasus.yaml", ConflictConfig)
A, B, C, D = CONFLICT.parties
TEXT = "Deputy Samvel Tadoyan said roads are open. Baku insisted that a treaty must come. The envoy welcomed calm."


def span(words: str, text: str = TEXT) -> Span:
    start = text.index(words)
    return Span.of(text, start, start + len(words))


def gold_quote(q, content, cue, source, party, stance, speaker="X", kind="indirect", **toward):
    parts = {"content": (span(content),), "cue": (span(cue),), "source": (span(source),)}
    return GoldQuote(q=q, type=kind, speaker=speaker, party=party, stance=stance, toward=toward, **parts)


QUOTES = (
    gold_quote("1", "roads are open", "said", "Deputy Samvel Tadoyan", A, "none", "Samvel Tadoyan"),
    gold_quote("2", "a treaty must come", "insisted", "Baku", B, B, "Azerbaijan", **{A: "against"}),
    gold_quote("3", "calm", "welcomed", "The envoy", A, D, "Envoy", **{D: "favor"}),
)


def article(number: int, quotes=QUOTES) -> GoldArticle:
    text = Article(text=TEXT, id=f"a{number}", date=dt.date(2021 + number % 2, 1, 1), outlet="Wire")
    return GoldArticle(text, tuple(quotes), "agency", f"s{number}", Path(f"a{number}.xml"))


def statement(gold: GoldArticle, quote: Quote, party: str, stance: str, confidence=0.8, toward=None, evidence="words: x"):
    rest = (1 - confidence) / (len(CONFLICT.stances) - 1)
    label = stance
    return Statement(
        id="s",
        article_id=gold.article.id,
        date=gold.article.date,
        type=quote.type,
        content=quote.content,
        cue=quote.cue,
        source=quote.source,
        speaker=Speaker(name=getattr(quote, "speaker", "nobody"), kind="person"),
        party=Party(label=party, evidence=evidence),
        stance=StanceJudgement(
            label=label,
            confidence=confidence,
            probabilities={name: confidence if name == label else rest for name in CONFLICT.stances},
            basis="words",
        ),
        toward={t: Judgement(label=(toward or {}).get(t, "neutral"), confidence=0.9) for t in CONFLICT.targets},
        divergent=is_divergent(party, stance),
        models={"extraction": "e", "stance": "s"},
    )


class Stub:
    """A pipeline that answers what the test says: in `chain` for whole articles, in `rooms` for gold quotes given."""

    def __init__(self, chain, rooms, trained_on=()):
        self.conflict, self.settings = CONFLICT, AnalyzeConfig(kind="analyze")
        self.models = {"extraction": "e", "stance": "s"}
        self.extractor = SimpleNamespace(model=SimpleNamespace(settings={"trained_on": list(trained_on)}, card="# card of e"))
        settings = {"temperature": {"stance": 1.0, "toward": 1.0}}
        self.classifier = SimpleNamespace(model=SimpleNamespace(settings=settings, card="# card of <s>"))
        self._chain, self._rooms = chain, rooms

    def analyze(self, text):
        return self._chain[text.id]

    def complete(self, text, quotes, reading=None):
        return self._rooms[text.id]


def perfect(gold):
    return [statement(gold, q, q.party, q.stance, toward=q.toward) for q in gold.quotes]


@pytest.fixture
def golds():
    return [article(0), article(1)]


@pytest.fixture
def stub(golds):
    """In the first article all is right. In the second the first quote is not found, the second has a wrong party, the third
    a wrong stance; and something is found that is no quote."""
    first, second = golds
    one, two, three = second.quotes
    extra = Quote(type="indirect", content=(span("Samvel"),))
    chain = {
        "a0": perfect(first),
        "a1": [
            statement(second, two, C, B, confidence=0.9),
            statement(second, three, A, "none", confidence=0.6),
            statement(second, extra, A, A),
        ],
    }
    rooms = {
        "a0": perfect(first),
        "a1": [
            statement(second, one, A, "none"),
            statement(second, two, C, B, confidence=0.9, evidence="registry: y"),
            statement(second, three, A, "none", confidence=0.6),
        ],
    }
    return Stub(chain, rooms)


@pytest.fixture
def evaluation(stub, golds):
    return evaluate(stub, golds, [article(7), article(8)])


def test_extraction_figures(evaluation):
    value = {key: score.value for key, score in evaluation.scores.items()}
    assert value["extraction.quotes.precision_iou"] == pytest.approx(5 / 6, abs=1e-4)
    assert value["extraction.quotes.recall_iou"] == pytest.approx(5 / 6, abs=1e-4)
    assert value["extraction.indirect.f1_exact"] == pytest.approx(5 / 6, abs=1e-4)
    assert value["extraction.source.recall_exact"] == pytest.approx(5 / 6, abs=1e-4)
    assert value["extraction.source.precision_exact"] == 1.0
    assert value["polnear.cue.recall_span"] == pytest.approx(5 / 6, abs=1e-4)
    # Of 2 × 8 content tokens the three of the quote that was not found lack.
    assert value["polnear.content.recall_token"] == pytest.approx(13 / 16, abs=1e-4)
    assert math.isnan(value["extraction.direct.f1_iou"])


def test_attribution_by_way(evaluation):
    scores = evaluation.scores
    assert scores["attribution.matched.party"].value == pytest.approx(4 / 5)
    assert scores["attribution.given.party"].value == pytest.approx(5 / 6, abs=1e-4)
    assert (scores["attribution.way.registry.party"].value, scores["attribution.way.registry.party"].n) == (0.0, 1)
    assert (scores["attribution.way.words.party"].value, scores["attribution.way.words.party"].n) == (1.0, 5)


def test_stance_on_all_and_on_divergent_quotes_beside_baselines(evaluation):
    scores = evaluation.scores
    # none: 2 of 3 answers right, both found; B: perfect; D: one of two.
    assert scores["stance.all.model.macro_f1"].value == pytest.approx((0.8 + 1 + 2 / 3) / 3, abs=1e-4)
    assert (scores["stance.divergent.model.accuracy"].value, scores["stance.divergent.model.accuracy"].n) == (0.5, 2)
    assert scores["stance.divergent.party.accuracy"].value == 0.0
    assert scores["stance.all.party.accuracy"].value == pytest.approx(1 / 3, abs=1e-4)
    assert scores["stance.all.tfidf.accuracy"].value == 1.0
    assert scores["stance.all.ahead_of_tfidf.macro_f1"].value < 0
    keys = {table.key for table in evaluation.tables["stance"]}
    assert {"stance_systems", "stance_classes_all", "stance_classes_divergent", "stance_confusion_divergent"} <= keys
    systems = next(table for table in evaluation.tables["toward"] if table.key == "toward_systems")
    assert [row[0] for row in systems.rows][0] == "model" and len(systems.rows) == 5


def test_the_cascade_names_the_room_that_lost_each_statement(evaluation):
    assert evaluation.cascade.counts == {"kept": 3, "extraction": 1, "attribution": 1, "stance": 1}
    # Given the gold quote, the lost one is answered right; the wrong party and the wrong stance stay wrong.
    assert evaluation.cascade.saved == {"extraction": 1, "attribution": 0, "stance": 0}
    assert [loss.room for loss in evaluation.cascade.examples] == ["extraction", "attribution", "stance"]
    assert evaluation.scores["end_to_end.recall_party_stance"].value == 0.5


def test_slices_have_counts(evaluation):
    tables = {table.key: {row[0]: row for row in table.rows} for table in evaluation.tables["slices"]}
    assert tables["slice_year"]["2021"][-1] == 3 and tables["slice_party"][A][-1] == 4
    assert tables["slice_divergent"]["divergent"][-1] == 2
    assert set(tables["slice_speaker"]) == {"seen in train"}
    assert set(tables["slice_length"]) == {"1 to 10 words"}


def test_predictions_read_back_as_they_were(evaluation, tmp_path):
    files = write_evaluation(evaluation, tmp_path, "Report", "onrecord evaluate", {"kind": "analyze"})
    assert [path.name for path in files] == ["predictions.parquet", "report.md", "report.html", "metrics.json"]
    assert read_predictions(tmp_path / "predictions.parquet") == evaluation.data
    assert not list(tmp_path.glob("*.part"))


def test_the_page_is_one_file_without_scripts_or_network(evaluation, tmp_path):
    write_evaluation(evaluation, tmp_path, "Report <1>", "onrecord evaluate", {"kind": "analyze"})
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 5
    for word in ("http:", "https:", "<script", "<img", "url(http", "@import", "<image", "data:"):
        assert word not in page
    names = re.findall(r'\bid="([^"]+)"', page)
    assert len(names) == len(set(names))
    assert "Report &lt;1&gt;" in page and "# card of &lt;s&gt;" in page and "@media print" in page
    assert page.index("Headline") < page.index("Extraction: quotes")


def test_metrics_are_documented_and_plain(evaluation, tmp_path):
    write_evaluation(evaluation, tmp_path, "Report", "onrecord evaluate", {"kind": "analyze"})
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["scores"]["extraction.direct.f1_iou"]["value"] is None
    assert metrics["scores"]["calibration.after.ece"]["better"] == "lower"
    documented = (resource_root() / "docs/metrics.md").read_text(encoding="utf-8")
    for key in metrics:
        assert f"`{key}`" in documented, key
    for first in {key.split(".")[0] for key in metrics["scores"]}:
        assert f"`{first}." in documented, first


def test_a_run_on_a_part_says_so(stub, golds):
    result = evaluate(stub, golds, limit=1)
    report = markdown(result, "Report", "onrecord evaluate")
    assert "Only the first 1 of 2 articles were scored" in report and "No train articles" in report
    assert "1 article(s): too few for intervals" in report


def test_articles_that_a_model_was_trained_on_are_called_out(stub, golds):
    stub.extractor.model.settings["trained_on"] = ["a1"]
    assert "trained on 1 of these articles" in " ".join(evaluate(stub, golds).notes)


def test_one_stage_runs_and_shows_only_itself(stub, golds):
    stub._chain = None
    result = evaluate(stub, golds, stages=["stance"])
    assert {key.split(".")[0] for key in result.scores} == {"stance", "calibration"}
    assert set(result.tables) == {"stance", "calibration", "slices"}
    assert "end-to-end" in STAGES


@pytest.mark.parametrize(
    ("quotes", "words"),
    [
        ([QUOTES[0].model_copy(update={"stance": "Atlantis"})], "quote 1: stance 'Atlantis'; the conflict 'south-caucasus' has"),
        ([QUOTES[0].model_copy(update={"toward": {"Atlantis": "favor"}})], "toward 'Atlantis'"),
        ([QUOTES[0].model_copy(update={"toward": {A: "loves"}})], "attitude 'loves'"),
        ([], "none of the 1 gold articles has a quote"),
    ],
)
def test_gold_that_cannot_be_scored_is_named(stub, quotes, words):
    with pytest.raises(CorpusError, match=re.escape(words)):
        evaluate(stub, [article(0, quotes)])


def test_no_gold_and_doubled_gold_are_named(stub, golds):
    with pytest.raises(ArticleError, match="no gold article to score"):
        evaluate(stub, [])
    with pytest.raises(CorpusError, match="name each article once"):
        evaluate(stub, [golds[0], golds[0]])


def test_train_of_one_class_is_named(golds):
    with pytest.raises(CorpusError, match="can't learn from one class"):
        stance_baselines(golds, [article(5, QUOTES[:1])], CONFLICT.stance_labels)


def test_the_lexicon_judges_only_parties_that_the_content_names():
    text = f"She said {B} is a wonderful friend. He said it is a horrible war."
    parts = [span(f"{B} is a wonderful friend", text), span("it is a horrible war", text)]
    quotes = [
        GoldQuote(q=str(i), type="indirect", content=(p,), speaker="X", party=A, stance="none") for i, p in enumerate(parts)
    ]
    gold = GoldArticle(Article(text=text, id="x"), tuple(quotes), "agency", "s", Path("x.xml"))
    answers = toward_baselines([gold], [], CONFLICT)["lexicon"]
    assert answers[0] == {t: "favor" if t == B else "neutral" for t in CONFLICT.targets}
    assert set(answers[1].values()) == {"neutral"}


def test_vectorised_statistics_agree_with_plain_ones():
    rng = np.random.default_rng(3)
    labels = ("x", "y", "z")
    gold, found = (list(rng.choice(labels, 60)) for _ in range(2))
    places = list(rng.integers(0, 6, 60))
    table = confusions(places, gold, found, labels, 6)
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    total = table.sum(axis=0)[None]
    assert macro_f1_of(total)[0] == pytest.approx(f1_score(gold, found, average="macro"))
    assert macro_f1(list(zip(gold, found, strict=True)), labels) == pytest.approx(f1_score(gold, found, average="macro"))
    assert accuracy_of(total)[0] == pytest.approx(accuracy_score(gold, found))
    assert mcc_of(total)[0] == pytest.approx(matthews_corrcoef(gold, found))
    groups = [[(g, f) for p, g, f in zip(places, gold, found, strict=True) if p == place] for place in range(6)]
    ours = Resampler(6).score(table, accuracy_of, 60)
    plain = bootstrap(groups, lambda items: sum(g == f for g, f in items) / len(items))
    assert (
        ours.value == plain.value
        and ours.low == pytest.approx(plain.low, abs=0.03)
        and ours.high == pytest.approx(plain.high, abs=0.03)
    )


def test_an_interval_is_over_articles_not_quotes():
    # One article all right, one all wrong: the interval spans everything, however many quotes each has.
    counts = np.array([[50.0, 50, 50], [0, 50, 50]])
    score = Resampler(2).score(counts, f1_of, 100)
    assert (score.value, score.low, score.high) == (0.5, 0.0, 1.0)
    alone = Resampler(1).score(counts[:1], f1_of, 50)
    assert str(alone) == "1.000" and math.isnan(alone.low)


def test_matching_is_one_to_one_and_by_content():
    gold = [Quote(type="indirect", content=(Span(start=0, end=10, text="0123456789"),))]
    half = Quote(type="indirect", content=(Span(start=0, end=5, text="01234"),))
    less = Quote(type="indirect", content=(Span(start=0, end=4, text="0123"),))
    assert match(gold, [less, half]) == [(0, 1, 0.5)]
    assert match(gold, [less]) == [] and match([], [less]) == []


def test_calibration_by_hand(stub, golds):
    data = evaluate(stub, golds).data
    result = calibration(data, 1.0, Resampler(2))
    # Confidences 0.8 ×4 (right), 0.9 (right), 0.6 (wrong): gaps 0.2, 0.1 and 0.6 weighted by 4, 1 and 1 of 6.
    assert result.after.ece.value == pytest.approx((4 * 0.2 + 0.1 + 0.6) / 6, abs=1e-4)
    assert result.before.ece.value == result.after.ece.value
    assert result.risk[-1] == pytest.approx(1 / 6) and result.risk[0] == 0
    target = {t.target: t for t in result.thresholds}[0.95]
    assert target.confidence == pytest.approx(0.8) and target.coverage == pytest.approx(5 / 6) and target.precision == 1.0


def test_temperature_one_is_recovered_from_the_scaled_probabilities(stub, golds):
    scores = np.array([2.0, 1, 0, 0, 0])
    soft = np.exp(scores / 2) / np.exp(scores / 2).sum()
    plain = np.exp(scores) / np.exp(scores).sum()
    row = next(r for r in evaluate(stub, golds).data.rows)
    answer = replace(row.given, probabilities=dict(zip(CONFLICT.stances, soft.tolist(), strict=True)))
    data = replace(evaluate(stub, golds).data, articles=("a0",), rows=(replace(row, given=answer),))
    result = calibration(data, 2.0, Resampler(1))
    assert [b.confidence for b in result.before.bins if b.n] == pytest.approx([plain[0]])
    assert [b.confidence for b in result.after.bins if b.n] == pytest.approx([soft[0]])


def test_abstention_keeps_the_label_in_the_probabilities(golds):
    sure = statement(golds[0], QUOTES[2], A, D, confidence=0.7)
    abstained = sure.stance.or_unknown(0.75)
    assert (abstained.label, abstained.confidence, abstained.best) == ("unknown", 0.7, D)
    assert sure.stance.or_unknown(0.7) is sure.stance
    assert not is_divergent(A, "unknown")
    from rich.console import Console

    from onrecord.reports import article_page, statement_table

    record = Statement.model_validate_json(sure.model_copy(update={"stance": abstained, "divergent": False}).to_json())
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(statement_table([record], CONFLICT))
    assert f"unsure ({D}?) 0.70" in console.export_text()
    page = article_page([(golds[0].article, [record])], CONFLICT)
    assert f"unsure ({D}?)" in page and "<th>unknown</th>" in page


def test_abstentions_count_as_answers_that_are_not_right(stub, golds):
    rooms = stub._rooms["a0"]
    stub._rooms["a0"] = [s.model_copy(update={"stance": s.stance.or_unknown(0.99)}) for s in rooms]
    result = evaluate(stub, golds)
    assert result.scores["stance.all.model.accuracy"].value == pytest.approx(2 / 6, abs=1e-4)
    confusion = next(t for t in result.tables["stance"] if t.key == "stance_confusion_all")
    assert confusion.columns[-1] == "unknown"


def written(stub, golds, folder, **options):
    """An evaluation's folder, without the pictures that nobody looks at here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("onrecord.evaluation.report.pictures", lambda *_: {})
        write_evaluation(evaluate(stub, golds, **options), folder, "R", "c", {})
    return folder


def test_compare_finds_what_was_made_worse(stub, tmp_path):
    golds = [article(number) for number in range(12)]
    stub._chain = {gold.article.id: perfect(gold) for gold in golds}
    stub._rooms = dict(stub._chain)
    a = written(stub, golds, tmp_path / "a")
    worse = {gold.article.id: [statement(gold, q, q.party, "none") for q in gold.quotes] for gold in golds}
    b = written(Stub(stub._chain, worse), golds, tmp_path / "b")
    found = {d.key: d for d in compare(a, b)}
    stance = found["stance.divergent.model.accuracy"]
    assert (stance.first, stance.second, stance.difference.high) == (1.0, 0.0, -1.0)
    # All 12 articles differ: only no swap or all swaps give as much, 2 of 2^12.
    assert stance.p < 0.005
    same = found["extraction.quotes.f1_iou"]
    assert (same.difference.value, same.p) == (0.0, 1.0)
    assert "| stance.divergent.model.accuracy | 1.000 | 0.000 | -1.000" in compare_markdown(list(found.values()), a, b)


def test_compare_takes_runs_that_abstained(stub, golds, tmp_path):
    a = written(stub, golds, tmp_path / "a")
    unsure = {
        name: [s.model_copy(update={"stance": s.stance.or_unknown(0.85)}) for s in room] for name, room in stub._rooms.items()
    }
    b = written(Stub(stub._chain, unsure), golds, tmp_path / "b")
    found = {d.key: d for d in compare(a, b, everything=True)}
    assert found["stance.all.model.accuracy"].second == pytest.approx(1 / 6, abs=1e-4)


def test_compare_refuses_what_cannot_be_compared(stub, golds, tmp_path):
    a, part = written(stub, golds, tmp_path / "a"), written(stub, golds, tmp_path / "part", limit=1)
    with pytest.raises(RecordError, match="unlike gold"):
        compare(a, part)
    with pytest.raises(RecordError, match="missing; make the folder with"):
        compare(a, tmp_path / "nowhere")
    metrics = json.loads((part / "metrics.json").read_text(encoding="utf-8"))
    (part / "metrics.json").write_text(json.dumps(metrics | {"metrics_version": 1}), encoding="utf-8")
    with pytest.raises(RecordError, match="metrics version 1, this code has 2"):
        compare(a, part)
    stance = written(stub, golds, tmp_path / "stance", stages=["stance"])
    extraction = written(stub, golds, tmp_path / "extraction", stages=["extraction"])
    with pytest.raises(RecordError, match="no measure in common"):
        compare(stance, extraction)


class Reader:
    """Judges by a rule of the test instead of a model."""

    def __init__(self, rule, source="masked"):
        self.rule, self.view = rule, SimpleNamespace(source=source)

    def judge(self, text, quotes, parties):
        for quote in quotes:
            for part in (*quote.content, *quote.cue, *quote.source):
                assert text[part.start : part.end] == part.text
        labels = [self.rule(text, quote, party) for quote, party in zip(quotes, parties, strict=True)]
        return [(statement(article(0), q, A, label).stance, {}) for q, label in zip(quotes, labels, strict=True)]


def named_first(text, quote, party):
    """The party whose name comes first in the text."""
    return min((p for p in CONFLICT.parties if p in text), key=text.index, default="none")


def test_the_swap_keeps_to_kind_and_number_and_moves_spans():
    swap = NameSwap(CONFLICT, A, B)
    text = (
        f"{A} and the {CONFLICT.parties[A].demonyms[1]} of the {CONFLICT.parties[B].demonyms[0]} Foreign Ministry spoke calmly."
    )
    swapped = swap.apply(text)
    assert (
        swapped.text
        == f"{B} and the {CONFLICT.parties[B].demonyms[1]} of the {CONFLICT.parties[A].demonyms[0]} Foreign Ministry spoke calmly."
    )
    for words, moved in ((A, B), ("spoke calmly", "spoke calmly"), ("Foreign Ministry spoke", None), ("the", "the")):
        found = swapped.move(span(words, text))
        assert swapped.text[found.start : found.end] == found.text
        assert moved is None or found.text == moved
    assert swap.apply(swapped.text).text == text
    assert swap.apply("Karabakh Armenians met").text == "Karabakh Armenians met"


def test_a_label_that_follows_the_name_is_counted_and_shown():
    text = f"In {A} it rains. She said roads are open. He said {B} must leave."
    quotes = [
        GoldQuote(q="1", type="indirect", content=(span("roads are open", text),), speaker="X", party=C, stance="none"),
        GoldQuote(q="2", type="indirect", content=(span(f"{B} must leave", text),), speaker="X", party=C, stance="none"),
    ]
    gold = GoldArticle(Article(text=text, id="x"), tuple(quotes), "agency", "s", Path("x.xml"))
    result = counterfactual(Reader(named_first), CONFLICT, [gold], Resampler(1))
    # Quote 1 names nobody; names of A or B stand near it in five of six pairs. Quote 2 names B: only pairs without B count.
    assert result.scores["counterfactual.context.follows"].n == 5
    first = [case for case in result.cases if case.text == "roads are open"]
    assert [case.outcome for case in first if case.pair == (A, B)] == ["follows the name"]
    assert not [case for case in result.cases if case.text != "roads are open" and B in case.pair]
    assert any("roads are open" in str(row) for row in result.tables()[-1].rows)
    stable = counterfactual(Reader(lambda text, quote, party: A), CONFLICT, [gold], Resampler(1))
    assert stable.scores["counterfactual.context.follows"].value == 0 and stable.scores["counterfactual.context.stays"].value == 1


def test_a_model_that_sees_the_party_is_tried_with_it_swapped_too():
    text = "She said roads are open."
    quote = GoldQuote(q="1", type="indirect", content=(span("roads are open", text),), speaker="X", party=A, stance="none")
    gold = GoldArticle(Article(text=text, id="x"), (quote,), "agency", "s", Path("x.xml"))
    result = counterfactual(Reader(lambda text, quote, party: party, "party"), CONFLICT, [gold], Resampler(1))
    assert result.scores["counterfactual.context_and_party.follows"].value == 1.0
    assert result.scores["counterfactual.context.stays"].n == 0


def test_a_powered_share_is_the_mean_formula_where_every_article_has_one_statement():
    rng = np.random.default_rng(0)
    y, f, pile = (np.stack([rng.binomial(1, 0.3, n), np.ones(n)], axis=1).astype(float) for n in (100, 100, 1000))
    value, _, high, _ = powered_ratio(y, f, pile, weight=1.0)
    error = y[:, 0] - f[:, 0]
    assert value == pytest.approx(pile[:, 0].mean() + error.mean())
    assert high - value == pytest.approx(1.96 * math.sqrt(pile[:, 0].var(ddof=1) / 1000 + error.var(ddof=1) / 100), rel=1e-3)
    plain = powered_ratio(y, f, pile, weight=0.0)
    assert plain[0] == pytest.approx(y[:, 0].mean())


def test_good_predictions_narrow_the_interval_and_bad_ones_are_not_used():
    rng = np.random.default_rng(1)
    y = np.stack([rng.binomial(5, 0.3, 60), np.full(60, 5)], axis=1).astype(float)
    pile = np.stack([rng.binomial(5, 0.3, 2000), np.full(2000, 5)], axis=1).astype(float)
    sharp, plain = powered_ratio(y, y, pile), powered_ratio(y, y, pile, weight=0.0)
    assert sharp[2] - sharp[1] < 0.4 * (plain[2] - plain[1]) and sharp[3] > 0.9
    noise = np.stack([rng.binomial(5, 0.5, 60), np.full(60, 5)], axis=1).astype(float)
    assert powered_ratio(y, noise, pile)[3] < 0.35
    assert math.isnan(powered_ratio(np.zeros((3, 2)), np.zeros((3, 2)), pile)[0])


def test_shares_correct_what_the_pipeline_gets_wrong(stub, tmp_path):
    golds = [article(number) for number in range(30)]
    stub._rooms = {gold.article.id: perfect(gold) for gold in golds}
    # The pipeline always takes D's line in the third quote for A's own.
    wrong = {gold.article.id: [*perfect(gold)[:2], statement(gold, gold.quotes[2], A, A)] for gold in golds}
    folder = written(Stub(wrong, stub._rooms), golds, tmp_path / "labelled")
    pile = tmp_path / "pile.jsonl"
    lines = [s.model_copy(update={"article_id": f"p{n}"}).to_json() for n in range(50) for s in wrong["a0"]]
    pile.write_text("\n".join(lines), encoding="utf-8")
    found = {share.stance: share for share in shares(folder, pile, [A])}
    assert (found[D].predicted, found[D].powered[0]) == (0.0, 0.5)
    assert (found[A].predicted, found[A].powered[0]) == (0.5, 0.0)
    assert f"| {A} | {D} | 0.500 [0.500, 0.500]" in shares_markdown(list(found.values()), folder, pile)
    with pytest.raises(RecordError, match="no statement of nobody"):
        shares(folder, pile, ["nobody"])
    other = lines[0].replace('"extraction":"e"', '"extraction":"other"')
    pile.write_text(other, encoding="utf-8")
    with pytest.raises(RecordError, match="use one pair of models for both"):
        shares(folder, pile)
    with pytest.raises(RecordError, match="at least 30 are needed"):
        shares(written(Stub(wrong, stub._rooms), golds[:2], tmp_path / "few"), pile)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--gold", "{corpus}", "--split", "nope"], "--split nope: no article of this split; splits are train, dev and test"),
        (["--gold", "nowhere"], "nowhere: no such file or folder"),
        (["--gold", "{corpus}/articles", "--model", "{corpus}"], "checksums.json: missing or damaged"),
        (["--gold", "{corpus}", "--split", "dev", "--format", "brat"], "only corpus folders in the gold format have splits"),
    ],
)
def test_what_cannot_be_evaluated_is_one_clear_line(arguments, words, tiny_project):
    arguments = [argument.format(corpus=tiny_project / "data/corpus") for argument in arguments]
    result = CliRunner().invoke(app, ["evaluate", *arguments])
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split()) and "Traceback" not in result.stderr


def test_a_label_that_the_conflict_lacks_is_named_with_its_line(tiny_project, tmp_path):
    source = (tiny_project / "data/corpus/articles/tiny-0.xml").read_text(encoding="utf-8")
    (tmp_path / "tiny-0.xml").write_text(source.replace('stance="none"', 'stance="Atlantis"'), encoding="utf-8")
    from onrecord.corpus import read_corpus
    from onrecord.evaluation.run import check_gold

    with pytest.raises(CorpusError, match=r"tiny-0\.xml:9: quote 1: stance 'Atlantis'"):
        check_gold(read_corpus([tmp_path]), CONFLICT)
