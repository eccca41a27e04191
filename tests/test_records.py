import json
from pathlib import Path

import jsonschema
import pytest

from onrecord.config import resource_root
from onrecord.records import Article, RecordError, Span, is_divergent, json_schema, read_statements


def test_ids_are_stable_hashes_of_content():
    assert Article(text="a").id == Article(text="a").id
    assert Article(text="a").id != Article(text="b").id
    assert Article(text="a", title="t").id != Article(text="a").id


def test_spans_count_code_points_not_bytes_or_utf16():
    text = "😀 é said"
    assert Span.of(text, 4, 8).text == "said"


def test_divergent_is_a_declared_line_voiced_by_someone_else():
    assert is_divergent("Armenia", "OSCE")
    assert is_divergent("other", "OSCE")
    assert is_divergent("joint", "Russia")
    assert not is_divergent("Armenia", "Armenia")
    assert not is_divergent("Armenia", "none")
    assert not is_divergent("unknown", "OSCE")


def test_every_line_fits_the_published_schema(analyzer, tmp_path):
    text = (
        "Armenian Foreign Minister Samvel Tadoyan said on Monday that the talks would go on. “We trust the Co-Chairs,” he added."
    )
    statements = analyzer.analyze(Article(text=text))
    assert statements
    published = json.loads((resource_root() / "docs/statement.schema.json").read_text(encoding="utf-8"))
    assert published == json_schema(), "run: onrecord schema > docs/statement.schema.json"
    for statement in statements:
        jsonschema.validate(json.loads(statement.to_json()), published)
    path = tmp_path / "out.jsonl"
    path.write_text("".join(s.to_json() + "\n" for s in statements), encoding="utf-8")
    assert list(read_statements(path)) == statements


def test_a_record_that_does_not_fit_its_text_is_refused(analyzer):
    article = Article(text="Armenian Foreign Minister Samvel Tadoyan said that the talks would go on next week in Moscow.")
    statement = analyzer.analyze(article)[0]
    with pytest.raises(RecordError, match="the record says"):
        statement.check_against("x" + article.text)


def test_a_bad_line_names_file_line_and_field(tmp_path: Path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"schema": "onrecord.statement/1"}\n', encoding="utf-8")
    with pytest.raises(RecordError, match=r"bad\.jsonl:1: id"):
        list(read_statements(path))
