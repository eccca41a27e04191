import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord import Analyzer, Article
from onrecord.extraction import (
    align,
    content_span,
    distance_bucket,
    face_marks,
    quote_type,
    sentence_starts,
    split_at_breaks,
    split_words,
    viterbi_spans,
    windows,
)
from onrecord.inference import Pieces
from onrecord.training.examples import _cut


def test_words_are_whole_with_hyphens_apostrophes_and_numbers():
    text = "Nagorno-Karabakh’s 1,700 “peace treaty”"
    words = split_words(text)
    assert [text[a:b] for a, b in zip(words.starts, words.ends, strict=True)] == [
        "Nagorno-Karabakh’s",
        "1,700",
        "“",
        "peace",
        "treaty",
        "”",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("”The issue,” he said. ”It is.”", "“The issue,” he said. “It is.”"),
        ("“Right as it stands,” he said.", "“Right as it stands,” he said."),
        ("in the region, “Foreign Minister", "in the region, “Foreign Minister"),
        ('«no» "straight"', '«no» "straight"'),
    ],
)
def test_marks_that_face_the_wrong_way_are_turned(text, expected):
    assert face_marks(text) == expected


def test_a_span_never_starts_inside():
    # A plain argmax would give inside, inside, outside: no begin at all.
    scores = np.array([[0.0, 0.5, 2.0], [0.0, 0.0, 5.0], [5.0, 0.0, 0.0]], dtype=np.float32)
    assert viterbi_spans(scores) == [(0, 2)]


@given(st.lists(st.lists(st.floats(-5, 5), min_size=3, max_size=3), max_size=40))
def test_spans_are_ordered_whole_and_within_the_text(rows):
    spans = viterbi_spans(np.array(rows, dtype=np.float32).reshape(-1, 3))
    flat = [place for span in spans for place in span]
    assert flat == sorted(flat) and all(a < b for a, b in spans)
    assert not flat or flat[-1] <= len(rows)


@given(st.integers(1, 3000), st.integers(10, 300), st.integers(0, 9), st.lists(st.integers(0, 3000), max_size=200))
def test_windows_cover_everything_and_overlap(count, size, overlap, starts):
    bounds = windows(count, size, overlap, np.unique(np.array(starts, dtype=np.int64)))
    assert bounds[0][0] == 0 and bounds[-1][1] == count
    shared = [a[1] - b[0] for a, b in zip(bounds, bounds[1:], strict=False)]
    assert all(overlap <= each <= 2 * overlap for each in shared)
    assert all(a < b for a, b in zip(bounds, bounds[1:], strict=False))
    assert all(0 < end - start <= size for start, end in bounds)


def test_windows_are_cut_between_sentences():
    text = "One two three. Four five “six.” Seven eight nine ten.\nEleven twelve."
    bounds = [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]
    places = np.array(bounds)
    pieces = Pieces(np.arange(len(bounds)), places[:, 0], places[:, 1])
    starts = sentence_starts(text, pieces)
    assert [text[places[piece, 0] :].split()[0] for piece in starts] == ["Four", "Seven", "Eleven"]
    # A window of ten would end within the second sentence; with room for its end alone, the next one begins with it.
    assert windows(len(bounds), 11, 3, starts) == [(0, 10), (4, 15), (10, 18)]
    # Where no sentence ends, windows are cut anywhere.
    assert windows(20, 10, 3, np.array([], dtype=np.int64)) == [(0, 10), (7, 17), (14, 20)]


def test_a_web_site_is_one_word():
    text = "Yeni-soz.az and news.sub.com report at 5.30 p.m. It ended.The sides left."
    words = split_words(text)
    found = [text[start:end] for start, end in zip(words.starts, words.ends, strict=True)]
    assert found[:3] == ["Yeni-soz.az", "and", "news.sub.com"] and found[5:8] == ["5.30", "p", "."]
    assert found[-7:] == ["It", "ended", ".", "The", "sides", "left", "."]


def test_words_without_a_piece_are_left_out():
    words = split_words("a \u0301 b")
    pieces = Pieces(np.array([1, 2]), np.array([0, 4]), np.array([1, 5]))
    kept, first, owner = align(words, pieces)
    assert len(kept) == 2 and first.tolist() == [0, 1] and owner.tolist() == [0, 1]


def test_no_span_runs_over_a_paragraph():
    assert split_at_breaks([(0, 4)], np.array([0, 0, 1, 1])) == [(0, 2), (2, 4)]


def test_distance_buckets_keep_sign_and_stay_in_range():
    buckets = distance_bucket(np.array([-500, -3, -1, 0, 2, 500]))
    assert buckets.tolist() == sorted(buckets.tolist())
    assert buckets.min() >= 0 and buckets.max() < 16


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (["“A b c,”"], "direct"),
        (["”The issue is closed,”", "”It is internal.”"], "direct"),
        (["“a thriving regional country, “"], "direct"),
        (["“an opening paragraph of several"], "direct"),
        (["that a treaty is near"], "indirect"),
        (["the “so-called corridor” is closed"], "mixed"),
        (["“A” and “B”"], "mixed"),
        (['"A" and "B"'], "mixed"),
        (["a paraphrase", "“A direct end.”"], "mixed"),
        (["«Non»"], "direct"),
    ],
)
def test_types_by_marks(contents, expected):
    assert quote_type(contents) == expected


def test_marks_go_inside_and_stray_points_outside():
    text = "He said “we agree,” and left it there."
    words = split_words(text)
    agree = [i for i, s in enumerate(words.starts) if text[s:].startswith("we")][0]
    assert content_span(text, words, (agree, agree + 3)).text == "“we agree,”"
    last = len(words)
    assert content_span(text, words, (last - 4, last)).text == "left it there"


def test_a_long_article_is_read_to_its_end(analyzer: Analyzer):
    filler = "The road was closed in winter and the snow lay deep on the pass. " * 400
    text = filler + "\n\nArmenian Foreign Minister Samvel Tadoyan said on Monday that the talks would go on.\n"
    statements = analyzer.analyze(Article(text=text))
    assert any("the talks would go on" in span.text for s in statements for span in s.content)


@pytest.mark.parametrize("text", ["", " ", "\0", "…", "😀", "\u200f\u200e", "a", "The sun rose over the hills."])
def test_texts_without_quotes_give_none(analyzer: Analyzer, text):
    assert analyzer.analyze(Article(text=text)) == []


@given(text=st.text(max_size=300))
def test_any_text_gives_statements_that_fit_it(analyzer: Analyzer, text):
    for statement in analyzer.analyze(Article(text=text)):
        statement.check_against(text)


@given(st.integers(1, 2000), st.integers(20, 300), st.integers(1, 9), st.integers(1, 5))
def test_every_way_to_cut_an_article_covers_it(count, size, overlap, cuts):
    found = _cut(count, size, overlap, np.arange(7, count, 11), cuts)
    assert found[: len(windows(count, size, overlap, np.arange(7, count, 11)))] == windows(
        count, size, overlap, np.arange(7, count, 11)
    )
    assert all(0 <= low < high <= count and high - low <= size for low, high in found)
    ways = [index for index, (low, _) in enumerate(found) if low == 0] + [len(found)]
    assert len(ways) - 1 <= cuts
    for first, last in zip(ways, ways[1:], strict=False):
        way = found[first:last]
        assert way[-1][1] == count and all(b[0] <= a[1] - overlap for a, b in zip(way, way[1:], strict=False))
