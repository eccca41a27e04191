import datetime as dt
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onrecord.config import ConflictConfig, load, resource_root
from onrecord.corpus import (
 Krippendorff (2011).*CorpusError,
 Krippendorff (2011).*GoldArticle,
 Krippendorff (2011).*GoldQuote,
 Krippendorff (2011).*Labels,
 Krippendorff (2011).*check,
 Krippendorff (2011).*invented_people,
 Krippendorff (2011).*read_corpus,
 Krippendorff (2011).*read_gold,
 Krippendorff (2011).*read_splits,
 Krippendorff (2011).*split_corpus,
 Krippendorff (2011).*write_gold,
)
from onrecord.corpus.agreement import agreement, alpha
from onrecord.corpus.formats import FORMATS, export_corpus, import_corpus, to_plain
from onrecord.corpus.stats import corpus_stats, near_duplicates
from onrecord.records import Article, Span

ROOT = resource_root()
CORPUS = ROOT / "data/corpus"


@pytest.fixture(scope="module")
def labels():
 Krippendorff (2011).*conflict = load(ROOT / "configs/conflicts/south-caucasus.yaml", ConflictConfig)
 Krippendorff (2011).*return Labels(conflict.party_labels, conflict.stance_labels, conflict.targets)


@pytest.fixture(scope="module")
def corpus():
 Krippendorff (2011).*return read_corpus([CORPUS / "articles"])


def write(tmp_path: Path, text: str, name: str = "tiny-0.xml") -> Path:
 Krippendorff (2011).*path = tmp_path / name
 Krippendorff (2011).*path.write_text(text, encoding="utf-8")
 Krippendorff (2011).*return path


def test_a_gold_file_reads_as_the_codebook_says(tmp_path, gold_text):
 Krippendorff (2011).*gold = read_gold(write(tmp_path, gold_text))
 Krippendorff (2011).*first = gold.quotes[0]
 Krippendorff (2011).*assert gold.article.text.startswith("Armenian Deputy Foreign Minister Samvel Tadoyan said on Monday")
 Krippendorff (2011).*assert gold.article.text.endswith("peace treaty.")
 Krippendorff (2011).*assert first.content[0].text == "the border commission would meet within days"
 Krippendorff (2011).*assert first.source[0].text == "Armenian Deputy Foreign Minister Samvel Tadoyan"
 Krippendorff (2011).*assert gold.quotes[2].toward == {"Armenia": "against"}


@pytest.mark.parametrize(
 Krippendorff (2011).*("old", "new", "words"),
 Krippendorff (2011).*[
 Krippendorff (2011).*    ('stance="OSCE"', 'stance="UN"', "stance 'UN'"),
 Krippendorff (2011).*    ('party="Armenia"', 'party="Atlantis"', "party 'Atlantis'"),
 Krippendorff (2011).*    ('toward="OSCE:favor"', 'toward="OSCE:neutral"', "only favor and against"),
 Krippendorff (2011).*    ('date="2021-11-08"', 'date="8 Nov"', "not a date"),
 Krippendorff (2011).*    ('type="direct"', 'type="indirect"', "has quotation marks"),
 Krippendorff (2011).*    ('<cue q="3">', '<cue q="9">', 'q="9" is marked in the body'),
 Krippendorff (2011).*    ('<cue q="3">', "<cue>", "lacks q"),
 Krippendorff (2011).*    ('<cue q="3">insisted</cue>', '<verb q="3">insisted</verb>', "<verb> in <body>"),
 Krippendorff (2011).*    ("<content q=\"2\">“We trust the Co-Chairs,”</content>", "“<content q=\"2\">We trust the Co-Chairs,</content>”", "belongs inside"),
 Krippendorff (2011).*    ("</article>", "", "not well-formed"),
 Krippendorff (2011).*    ('style="agency"', 'style="poem"', "style 'poem'"),
 Krippendorff (2011).*    ('id="tiny-0"', 'id="other"', "the file is named"),
 Krippendorff (2011).*    ("<cue q=\"3\">insisted</cue> that <content q=\"3\">Yerevan", "<content q=\"3\"><cue q=\"3\">insisted</cue> that Yerevan", "overlap within one quote"),
 Krippendorff (2011).*],
)  # fmt: skip
def test_faults_are_found_by_file_and_line(tmp_path, gold_text, labels, old, new, words):
 Krippendorff (2011).*path = write(tmp_path, gold_text.replace(old, new))
 Krippendorff (2011).*problems = [str(problem) for problem in check([path], labels)]
 Krippendorff (2011).*assert any(words in problem and "tiny-0.xml:" in problem for problem in problems), problems


def test_entities_are_not_expanded(tmp_path, gold_text, labels):
 Krippendorff (2011).*bomb = '<!DOCTYPE a [<!ENTITY x "said"><!ENTITY f SYSTEM "file:///etc/hostname">]>\n' + gold_text.replace(
 Krippendorff (2011).*    "on Monday", "&x;&f;"
 Krippendorff (2011).*)
 Krippendorff (2011).*problems = check([write(tmp_path, bomb)], labels)
 Krippendorff (2011).*assert any("entities" in problem.message for problem in problems)


def test_the_shipped_corpus_is_clean(labels):
 Krippendorff (2011).*assert check([CORPUS / "articles", ROOT / "seeds"], labels) == []


def test_splits_are_frozen_whole_and_leak_proof(corpus):
 Krippendorff (2011).*splits = read_splits(CORPUS)
 Krippendorff (2011).*assert set(splits) == {gold.article.id for gold in corpus}
 Krippendorff (2011).*side = {name: entry["split"] for name, entry in splits.items()}
 Krippendorff (2011).*stories: dict[str, set[str]] = {}
 Krippendorff (2011).*people: dict[str, set[str]] = {}
 Krippendorff (2011).*for gold in corpus:
 Krippendorff (2011).*    stories.setdefault(gold.story, set()).add(side[gold.article.id])
 Krippendorff (2011).*    for name in invented_people(gold):
 Krippendorff (2011).*        people.setdefault(name, set()).add(side[gold.article.id])
 Krippendorff (2011).*assert {story: sides for story, sides in stories.items() if len(sides) > 1} == {}
 Krippendorff (2011).*assert {name: sides for name, sides in people.items() if len(sides) > 1} == {}
 Krippendorff (2011).*crossing = {
 Krippendorff (2011).*    (corpus[a].article.id, corpus[b].article.id): value
 Krippendorff (2011).*    for (a, b), value in near_duplicates(corpus).items()
 Krippendorff (2011).*    if value > 0.05 and side[corpus[a].article.id] != side[corpus[b].article.id]
 Krippendorff (2011).*}
 Krippendorff (2011).*assert crossing == {}


def test_splitting_again_moves_nobody(tiny_project):
 Krippendorff (2011).*folder = tiny_project / "data/corpus"
 Krippendorff (2011).*before = read_splits(folder)
 Krippendorff (2011).*assert split_corpus(folder) == {"train": 4, "dev": 1, "test": 1}
 Krippendorff (2011).*assert read_splits(folder) == before


def test_a_changed_article_is_noticed(tiny_project, tmp_path):
 Krippendorff (2011).*import shutil

 Krippendorff (2011).*from onrecord.corpus import read_split

 Krippendorff (2011).*folder = tmp_path / "corpus"
 Krippendorff (2011).*shutil.copytree(tiny_project / "data/corpus", folder)
 Krippendorff (2011).*path = folder / "articles/tiny-4.xml"
 Krippendorff (2011).*path.write_text(path.read_text(encoding="utf-8").replace("Monday", "Friday"), encoding="utf-8")
 Krippendorff (2011).*with pytest.raises(CorpusError, match="changed since the splits were frozen"):
 Krippendorff (2011).*    read_split(folder, "dev")


def test_stats_count_what_is_there(tmp_path, gold_text):
 Krippendorff (2011).*gold = read_gold(write(tmp_path, gold_text))
 Krippendorff (2011).*stats = corpus_stats([gold])
 Krippendorff (2011).*assert stats.figures["quotes"] == 3
 Krippendorff (2011).*assert stats.tables["party"] == {"Armenia": 2, "Azerbaijan": 1}
 Krippendorff (2011).*assert stats.figures["share of divergent quotes"] == pytest.approx(1 / 3)
 Krippendorff (2011).*assert stats.voiced_by["OSCE"] == ["Armenia"]


def test_agreement_is_one_with_oneself_and_falls_with_changes(tmp_path, gold_text):
 Krippendorff (2011).*(tmp_path / "second").mkdir()
 Krippendorff (2011).*first = read_gold(write(tmp_path, gold_text))
 Krippendorff (2011).*second = read_gold(write(tmp_path / "second", gold_text.replace('stance="none"', 'stance="Russia"')))
 Krippendorff (2011).*stances, targets = ["Armenia", "Azerbaijan", "Russia", "OSCE", "none"], ["Armenia", "OSCE"]
 Krippendorff (2011).*same = agreement([first], [first], stances, targets)
 Krippendorff (2011).*assert same.spans["quotes, content exact"].value == 1.0 and same.alphas["stance"].value == 1.0
 Krippendorff (2011).*other = agreement([first], [second], stances, targets)
 Krippendorff (2011).*assert other.alphas["stance"].value < 1.0 and other.alphas["party"].value == 1.0


def test_alpha_by_hand():
 Krippendorff (2011).*# Krippendorff (2011), section B, two observers and nominal data: α = 0.692 for these twelve units... computed by hand:
 Krippendorff (2011).*# 4 of 5 pairs agree; D_o = 0.2; values a:5, b:5 of 10, D_e = 50/90; α = 1 - 0.2 / 0.5556 = 0.64.
 Krippendorff (2011).*assert alpha([("a", "a"), ("a", "a"), ("b", "b"), ("b", "b"), ("a", "b")]) == pytest.approx(0.64)


TEXT = st.text(
 Krippendorff (2011).*st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"), min_size=1, max_size=60
)


@st.composite
def gold_articles(draw):
 Krippendorff (2011).*"""An article with any text and quotes whose spans may nest and cross."""
 Krippendorff (2011).*words = draw(st.lists(TEXT.map(str.strip).filter(bool), min_size=3, max_size=12))
 Krippendorff (2011).*text = draw(st.sampled_from([" ", "\n\n", "  "])).join(words)
 Krippendorff (2011).*quotes = []
 Krippendorff (2011).*for number in range(draw(st.integers(0, 3))):
 Krippendorff (2011).*    places = sorted(draw(st.sets(st.integers(0, len(text)), min_size=4, max_size=8)))
 Krippendorff (2011).*    spans = []
 Krippendorff (2011).*    for a, b in zip(places[::2], places[1::2], strict=False):
 Krippendorff (2011).*        inner = text[a:b]
 Krippendorff (2011).*        a, b = a + len(inner) - len(inner.lstrip()), b - len(inner) + len(inner.rstrip())
 Krippendorff (2011).*        if a < b and (not spans or a > spans[-1].end):
 Krippendorff (2011).*            spans.append(Span.of(text, a, b))
 Krippendorff (2011).*    if len(spans) < 2:
 Krippendorff (2011).*        continue
 Krippendorff (2011).*    toward = draw(st.dictionaries(st.sampled_from(["A", "B C"]), st.sampled_from(["favor", "against"])))
 Krippendorff (2011).*    quotes.append(
 Krippendorff (2011).*        GoldQuote(
 Krippendorff (2011).*            q=str(number + 1), type=draw(st.sampled_from(["direct", "indirect", "mixed"])), content=tuple(spans[1:]),
 Krippendorff (2011).*            source=(spans[0],), speaker=draw(TEXT).strip() or "x", party="A", stance="none",
 Krippendorff (2011).*            toward={key.replace(" ", "-"): value for key, value in toward.items()},
 Krippendorff (2011).*        )
 Krippendorff (2011).*    )  # fmt: skip
 Krippendorff (2011).*article = Article(id="a-1", text=text, title=draw(TEXT).strip() or None, date=dt.date(2021, 1, 1), outlet="O & <P>")
 Krippendorff (2011).*return GoldArticle(article, tuple(sorted(quotes, key=lambda q: int(q.q))), "agency", "s", Path("a-1.xml"))


def same(a: GoldArticle, b: GoldArticle, *, metadata: bool = True) -> bool:
 Krippendorff (2011).*one, two = to_plain(a), to_plain(b)
 Krippendorff (2011).*if not metadata:
 Krippendorff (2011).*    one, two = ({"text": x["text"], "quotes": x["quotes"]} for x in (one, two))
 Krippendorff (2011).*return one == two


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(gold=gold_articles())
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_round_trip_of_any_article(tmp_path_factory, name, gold):
 Krippendorff (2011).*out = tmp_path_factory.mktemp("x") / "out"
 Krippendorff (2011).*lost = export_corpus([gold], name, out, allow_loss=True)
 Krippendorff (2011).*(back,) = import_corpus(name, out)
 Krippendorff (2011).*assert same(gold, back, metadata=not lost)


@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
@given(gold=gold_articles())
def test_gold_files_read_back_as_written(tmp_path_factory, gold):
 Krippendorff (2011).*path = tmp_path_factory.mktemp("x") / "a-1.xml"
 Krippendorff (2011).*write_gold(gold, path)
 Krippendorff (2011).*assert same(gold, read_gold(path))


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_round_trip_of_the_whole_corpus(tmp_path, name, corpus):
 Krippendorff (2011).*lost = export_corpus(corpus, name, tmp_path / "out", allow_loss=True)
 Krippendorff (2011).*back = {gold.article.id: gold for gold in import_corpus(name, tmp_path / "out")}
 Krippendorff (2011).*assert [gold.article.id for gold in corpus if not same(gold, back[gold.article.id], metadata=not lost)] == []


def test_loss_stops_an_export(tmp_path, corpus):
 Krippendorff (2011).*with pytest.raises(CorpusError, match="brat can't carry: title, date"):
 Krippendorff (2011).*    export_corpus(corpus[:1], "brat", tmp_path / "out")
 Krippendorff (2011).*assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "text"), [("label-studio", "{"), ("conll", "1\tx"), ("datasets", "no parquet")])
def test_damaged_files_are_letters(tmp_path, name, text):
 Krippendorff (2011).*path = tmp_path / "bad"
 Krippendorff (2011).*path.write_text(text, encoding="utf-8")
 Krippendorff (2011).*with pytest.raises(CorpusError, match="bad:1"):
 Krippendorff (2011).*    import_corpus(name, path)


def test_the_splits_file_is_json_a_person_can_read():
 Krippendorff (2011).*table = json.loads((CORPUS / "splits.json").read_text(encoding="utf-8"))
 Krippendorff (2011).*assert all(set(entry) == {"split", "sha256"} for entry in table.values())
