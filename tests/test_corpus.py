import datetime as dt
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onrecord.config import ConflictConfig, load, resource_root
from onrecord.corpus import (
    CorpusError,
    GoldArticle,
    GoldQuote,
    Labels,
    check,
    invented_people,
    read_corpus,
    read_gold,
    read_splits,
    split_corpus,
    write_gold,
)
from onrecord.corpus.agreement import agreement, alpha
from onrecord.corpus.formats import FORMATS, export_corpus, import_corpus, to_plain
from onrecord.corpus.stats import corpus_stats, near_duplicates
from onrecord.records import Article, Span

ROOT = resource_root()
CORPUS = ROOT / "data/corpus"


@pytest.fixture(scope="module")
def labels():
    conflict = load(ROOT / "configs/conflicts/south-caucasus.yaml", ConflictConfig)
    return Labels(conflict.party_labels, conflict.stance_labels, conflict.targets)


@pytest.fixture(scope="module")
def corpus():
    return read_corpus([CORPUS / "articles"])


def write(tmp_path: Path, text: str, name: str = "tiny-0.xml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_gold_file_reads_as_the_codebook_says(tmp_path, gold_text):
    gold = read_gold(write(tmp_path, gold_text))
    first = gold.quotes[0]
    assert gold.article.text.startswith("Armenian Deputy Foreign Minister Samvel Tadoyan said on Monday")
    assert gold.article.text.endswith("peace treaty.")
    assert first.content[0].text == "the border commission would meet within days"
    assert first.source[0].text == "Armenian Deputy Foreign Minister Samvel Tadoyan"
    assert gold.quotes[2].toward == {"Armenia": "against"}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('stance="OSCE"', 'stance="UN"', "stance 'UN'"),
        ('party="Armenia"', 'party="Atlantis"', "party 'Atlantis'"),
        ('toward="OSCE:favor"', 'toward="OSCE:neutral"', "only favor and against"),
        ('date="2021-11-08"', 'date="8 Nov"', "not a date"),
        ('type="direct"', 'type="indirect"', "has quotation marks"),
        ('<cue q="3">', '<cue q="9">', 'q="9" is marked in the body'),
        ('<cue q="3">', "<cue>", "lacks q"),
        ('<cue q="3">insisted</cue>', '<verb q="3">insisted</verb>', "<verb> in <body>"),
        ("<content q=\"2\">“We trust the Co-Chairs,”</content>", "“<content q=\"2\">We trust the Co-Chairs,</content>”", "belongs inside"),
        ("</article>", "", "not well-formed"),
        ('style="agency"', 'style="poem"', "style 'poem'"),
        ('id="tiny-0"', 'id="other"', "the file is named"),
        ("<cue q=\"3\">insisted</cue> that <content q=\"3\">Yerevan", "<content q=\"3\"><cue q=\"3\">insisted</cue> that Yerevan", "overlap within one quote"),
    ],
)  # fmt: skip
def test_faults_are_found_by_file_and_line(tmp_path, gold_text, labels, old, new, words):
    path = write(tmp_path, gold_text.replace(old, new))
    problems = [str(problem) for problem in check([path], labels)]
    assert any(words in problem and "tiny-0.xml:" in problem for problem in problems), problems


def test_entities_are_not_expanded(tmp_path, gold_text, labels):
    bomb = '<!DOCTYPE a [<!ENTITY x "said"><!ENTITY f SYSTEM "file:///etc/hostname">]>\n' + gold_text.replace(
        "on Monday", "&x;&f;"
    )
    problems = check([write(tmp_path, bomb)], labels)
    assert any("entities" in problem.message for problem in problems)


def test_the_shipped_corpus_is_clean(labels):
    assert check([CORPUS / "articles", ROOT / "seeds"], labels) == []


def test_splits_are_frozen_whole_and_leak_proof(corpus):
    splits = read_splits(CORPUS)
    assert set(splits) == {gold.article.id for gold in corpus}
    side = {name: entry["split"] for name, entry in splits.items()}
    stories: dict[str, set[str]] = {}
    people: dict[str, set[str]] = {}
    for gold in corpus:
        stories.setdefault(gold.story, set()).add(side[gold.article.id])
        for name in invented_people(gold):
            people.setdefault(name, set()).add(side[gold.article.id])
    assert {story: sides for story, sides in stories.items() if len(sides) > 1} == {}
    assert {name: sides for name, sides in people.items() if len(sides) > 1} == {}
    crossing = {
        (corpus[a].article.id, corpus[b].article.id): value
        for (a, b), value in near_duplicates(corpus).items()
        if value > 0.05 and side[corpus[a].article.id] != side[corpus[b].article.id]
    }
    assert crossing == {}


def test_splitting_again_moves_nobody(tiny_project):
    folder = tiny_project / "data/corpus"
    before = read_splits(folder)
    assert split_corpus(folder) == {"train": 4, "dev": 1, "test": 1}
    assert read_splits(folder) == before


def test_a_changed_article_is_noticed(tiny_project, tmp_path):
    import shutil

    from onrecord.corpus import read_split

    folder = tmp_path / "corpus"
    shutil.copytree(tiny_project / "data/corpus", folder)
    path = folder / "articles/tiny-4.xml"
    path.write_text(path.read_text(encoding="utf-8").replace("Monday", "Friday"), encoding="utf-8")
    with pytest.raises(CorpusError, match="changed since the splits were frozen"):
        read_split(folder, "dev")


def test_stats_count_what_is_there(tmp_path, gold_text):
    gold = read_gold(write(tmp_path, gold_text))
    stats = corpus_stats([gold])
    assert stats.figures["quotes"] == 3
    assert stats.tables["party"] == {"Armenia": 2, "Azerbaijan": 1}
    assert stats.figures["share of divergent quotes"] == pytest.approx(1 / 3)
    assert stats.voiced_by["OSCE"] == ["Armenia"]


def test_agreement_is_one_with_oneself_and_falls_with_changes(tmp_path, gold_text):
    (tmp_path / "second").mkdir()
    first = read_gold(write(tmp_path, gold_text))
    second = read_gold(write(tmp_path / "second", gold_text.replace('stance="none"', 'stance="Russia"')))
    stances, targets = ["Armenia", "Azerbaijan", "Russia", "OSCE", "none"], ["Armenia", "OSCE"]
    same = agreement([first], [first], stances, targets)
    assert same.spans["quotes, content exact"].value == 1.0 and same.alphas["stance"].value == 1.0
    other = agreement([first], [second], stances, targets)
    assert other.alphas["stance"].value < 1.0 and other.alphas["party"].value == 1.0


def test_alpha_by_hand():
    # 4 of 5 pairs agree; D_o = 0.2; values a:5, b:5 of 10, D_e = 50/90; α = 1 - 0.2 / 0.5556 = 0.64.
    assert alpha([("a", "a"), ("a", "a"), ("b", "b"), ("b", "b"), ("a", "b")]) == pytest.approx(0.64)


TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"), min_size=1, max_size=60
)


@st.composite
def gold_articles(draw):
    """An article with any text and quotes whose spans may nest and cross."""
    words = draw(st.lists(TEXT.map(str.strip).filter(bool), min_size=3, max_size=12))
    text = draw(st.sampled_from([" ", "\n\n", "  "])).join(words)
    quotes = []
    for number in range(draw(st.integers(0, 3))):
        places = sorted(draw(st.sets(st.integers(0, len(text)), min_size=4, max_size=8)))
        spans = []
        for a, b in zip(places[::2], places[1::2], strict=False):
            inner = text[a:b]
            a, b = a + len(inner) - len(inner.lstrip()), b - len(inner) + len(inner.rstrip())
            if a < b and (not spans or a > spans[-1].end):
                spans.append(Span.of(text, a, b))
        if len(spans) < 2:
            continue
        toward = draw(st.dictionaries(st.sampled_from(["A", "B C"]), st.sampled_from(["favor", "against"])))
        quotes.append(
            GoldQuote(
                q=str(number + 1), type=draw(st.sampled_from(["direct", "indirect", "mixed"])), content=tuple(spans[1:]),
                source=(spans[0],), speaker=draw(TEXT).strip() or "x", party="A", stance="none",
                toward={key.replace(" ", "-"): value for key, value in toward.items()},
            )
        )  # fmt: skip
    article = Article(id="a-1", text=text, title=draw(TEXT).strip() or None, date=dt.date(2021, 1, 1), outlet="O & <P>")
    return GoldArticle(article, tuple(sorted(quotes, key=lambda q: int(q.q))), "agency", "s", Path("a-1.xml"))


def same(a: GoldArticle, b: GoldArticle, *, metadata: bool = True) -> bool:
    one, two = to_plain(a), to_plain(b)
    if not metadata:
        one, two = ({"text": x["text"], "quotes": x["quotes"]} for x in (one, two))
    return one == two


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(gold=gold_articles())
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_round_trip_of_any_article(tmp_path_factory, name, gold):
    out = tmp_path_factory.mktemp("x") / "out"
    lost = export_corpus([gold], name, out, allow_loss=True)
    (back,) = import_corpus(name, out)
    assert same(gold, back, metadata=not lost)


@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
@given(gold=gold_articles())
def test_gold_files_read_back_as_written(tmp_path_factory, gold):
    path = tmp_path_factory.mktemp("x") / "a-1.xml"
    write_gold(gold, path)
    assert same(gold, read_gold(path))


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_round_trip_of_the_whole_corpus(tmp_path, name, corpus):
    lost = export_corpus(corpus, name, tmp_path / "out", allow_loss=True)
    back = {gold.article.id: gold for gold in import_corpus(name, tmp_path / "out")}
    assert [gold.article.id for gold in corpus if not same(gold, back[gold.article.id], metadata=not lost)] == []


def test_loss_stops_an_export(tmp_path, corpus):
    with pytest.raises(CorpusError, match="brat can't carry: title, date"):
        export_corpus(corpus[:1], "brat", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "text"), [("label-studio", "{"), ("conll", "1\tx"), ("datasets", "no parquet")])
def test_damaged_files_are_letters(tmp_path, name, text):
    path = tmp_path / "bad"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CorpusError, match="bad:1"):
        import_corpus(name, path)


def test_the_splits_file_is_json_a_person_can_read():
    table = json.loads((CORPUS / "splits.json").read_text(encoding="utf-8"))
    assert all(set(entry) == {"split", "sha256"} for entry in table.values())
