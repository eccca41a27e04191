import datetime as dt
import io
import json

import pytest

from onrecord.article import ArticleError, Rejected, decode, parse_date, read_articles


def read(*paths, stdin=b"", date=None):
    return list(read_articles([str(path) for path in paths], io.BytesIO(stdin), date))


def test_text_is_exactly_as_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("One.\r\n\r\nTwo \u200f“three”\0 😀.\n".encode())
    (article,) = read(path)
    assert article.text == "One.\r\n\r\nTwo \u200f“three”\0 😀.\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "cp1251"])
def test_encodings_are_detected(encoding):
    text = (
        "Он сказал, что встреча состоится в понедельник в Москве. " * 5
        if encoding == "cp1251"
        else "He said “no” – déjà vu. " * 5
    )
    assert decode("f", text.encode(encoding)) == text


@pytest.mark.parametrize(
    ("data", "word"),
    [(b"", "empty"), (b" \n\t ", "empty"), (b"\x7fELF\x02" + bytes(200), "binary"), (bytes(range(256)) * 20, "binary")],
)
def test_refusals_name_the_file_and_the_remedy(data, word, tmp_path):
    path = tmp_path / "bad.txt"
    path.write_bytes(data)
    (item,) = read(path)
    assert isinstance(item, Rejected)
    assert "bad.txt" in item.reason and word in item.reason


def test_one_bad_input_does_not_stop_the_others(tmp_path):
    (tmp_path / "a.txt").write_text("He said so.", encoding="utf-8")
    (tmp_path / "b.txt").write_bytes(b"")
    (tmp_path / "c.txt").write_text("She said no.", encoding="utf-8")
    items = read(tmp_path, tmp_path / "missing.txt")
    assert [isinstance(item, Rejected) for item in items] == [False, True, False, True]
    assert "missing.txt: no such file" in items[-1].reason


def test_html_gives_its_text_without_scripts(tmp_path):
    page = tmp_path / "p.html"
    body = "<p>The minister said on Monday that the border commission would meet within days in Moscow and Yerevan.</p>" * 3
    page.write_text(
        "<html><head><title>Talks</title><script>alert('x said y')</script></head><body><article>"
        f"<h1>Talks</h1>{body}<script>evil()</script></article></body></html>",
        encoding="utf-8",
    )
    (article,) = read(page)
    assert "border commission" in article.text
    assert "alert" not in article.text and "evil" not in article.text


def test_html_without_an_article_is_rejected(tmp_path):
    page = tmp_path / "p.html"
    page.write_text("<html><body><script>1</script></body></html>", encoding="utf-8")
    (item,) = read(page)
    assert isinstance(item, Rejected) and "no article text" in item.reason


def test_jsonl_lines_and_their_faults(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [
        json.dumps({"text": "He said so.", "date": "2021-11-08", "outlet": "Wire", "id": "x1"}),
        "{broken",
        json.dumps({"text": "He said so.", "date": "8 Nov"}),
        json.dumps({"txt": "no text"}),
        json.dumps({"text": "lone \ud800"}),
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    items = read(path)
    assert items[0].date == dt.date(2021, 11, 8) and items[0].id == "x1"
    for number, item in enumerate(items[1:], start=2):
        assert isinstance(item, Rejected) and f"a.jsonl:{number}" in item.reason
    assert "`date`" in items[2].reason and "YYYY-MM-DD" in items[2].reason
    assert "`text`" in items[3].reason


def test_standard_input():
    (article,) = read("-", stdin=b"He said so.", date=dt.date(2021, 1, 1))
    assert article.text == "He said so." and article.date == dt.date(2021, 1, 1)


def test_a_date_that_does_not_parse_says_where():
    with pytest.raises(ArticleError, match="--date: 'yesterday' is not a date; write YYYY-MM-DD"):
        parse_date("yesterday", "--date")
