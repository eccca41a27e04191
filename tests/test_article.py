import csv
import datetime as dt
import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd

from onrecord.article import ArticleError, Rejected, decode, files, find_files, parse_date, read_articles, readers
from onrecord.config import AnalyzeConfig


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


NEWS = [
    {"text": "He said so.", "date": "2021-11-08", "outlet": "Wire", "id": "x1"},
    {"text": "She said “no” – déjà vu. " * 5, "date": "2021-11-09", "outlet": "Post", "id": "x2"},
]
PAGE = (
    "<html><head><title>Talks</title></head><body><article><h1>Talks</h1>"
    + "<p>The minister said on Monday that the border commission would meet within days in Moscow and Yerevan.</p>" * 3
    + "</article></body></html>"
)


def as_jsonl(path):
    path.write_text("".join(json.dumps(row) + "\n" for row in NEWS), encoding="utf-8")


def as_csv(path, delimiter=",", encoding="utf-8"):
    with path.open("w", encoding=encoding, newline="") as stream:
        writer = csv.DictWriter(stream, ["id", "outlet", "date", "text"], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(NEWS)


def as_parquet(path):
    rows = [row | {"date": dt.date.fromisoformat(row["date"])} for row in NEWS]
    pq.write_table(pa.Table.from_pylist(rows), path)


def as_gzip(path):
    plain = path.with_suffix("")
    {".jsonl": as_jsonl, ".csv": as_csv}[plain.suffix](plain)
    path.write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()


def as_zstd(path):
    as_jsonl(path.with_suffix(""))
    path.write_bytes(zstd.compress(path.with_suffix("").read_bytes()))
    path.with_suffix("").unlink()


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.jsonl", as_jsonl),
        ("a.jsonl.gz", as_gzip),
        ("a.jsonl.zst", as_zstd),
        ("a.csv", as_csv),
        ("a.csv", lambda path: as_csv(path, ";", "utf-8-sig")),
        ("a.csv", lambda path: as_csv(path, "\t", "utf-16")),
        ("a.csv.gz", as_gzip),
        ("a.parquet", as_parquet),
    ],
)
def test_every_table_gives_the_same_articles(name, write, tmp_path):
    write(tmp_path / name)
    items = read(tmp_path)
    assert [(a.text, a.id, a.outlet, a.date.isoformat()) for a in items] == [
        (row["text"], row["id"], row["outlet"], row["date"]) for row in NEWS
    ]


def columns(**names):
    return AnalyzeConfig(kind="analyze", columns=names)


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl"])
def test_columns_are_mapped_and_a_missing_one_is_named(ending, tmp_path):
    path = tmp_path / f"a{ending}"
    {".csv": as_csv, ".parquet": as_parquet, ".jsonl": as_jsonl}[ending](path)
    (first, _) = read_articles([str(path)], io.BytesIO(), None, columns(title="outlet"))
    assert first.title == first.outlet == "Wire"
    items = list(read_articles([str(path)], io.BytesIO(), None, columns(text="body")))
    assert items and all(isinstance(item, Rejected) and "`body`" in item.reason for item in items)
    if ending != ".jsonl":
        (item,) = read_articles([str(path)], io.BytesIO(), None, columns(outlet="publisher"))
        assert "no column `publisher`; its columns are" in item.reason and "`columns`" in item.reason


def test_a_bad_row_is_one_rejected_row(tmp_path):
    path = tmp_path / "a.csv"
    rows = [
        b"text,date",
        b"He said so. " * 6000 + b",2021-11-08",
        b",2021-11-08",
        b"\xff\xfe x,2021-11-08",
        b"No.,8 Nov",
        b'"She\nsaid.",2021-11-09',
    ]
    path.write_bytes(b"\n".join(rows))
    items = read(path)
    assert [isinstance(item, Rejected) for item in items] == [False, True, True, True, False]
    assert [item.place.rsplit(":", 1)[1] for item in items[1:4]] == ["3", "4", "5"]
    assert items[-1].text == "She\nsaid."


def test_a_quote_that_is_never_closed_ends_within_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "MAX_CELL", 200_000)
    path = tmp_path / "a.csv"
    path.write_text('text\n"open ' + "word\n" * 100_000, encoding="utf-8")
    limit = csv.field_size_limit(1000)
    try:
        items = read(path)
    finally:
        csv.field_size_limit(limit)
    assert isinstance(items[0], Rejected) and "field larger than field limit" in items[0].reason


def test_an_open_quote_does_not_make_one_article_of_many(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('text\n"He said so."\n"She said "no"."\n"open\n"She said so."\nlast\n', encoding="utf-8")
    items = read(path)
    assert [item.text for item in items if not isinstance(item, Rejected)] == ["He said so.", "last"]
    assert sum(isinstance(item, Rejected) for item in items) == 2


def test_a_long_line_is_one_rejected_line(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "MAX_BYTES", 1000)
    path = tmp_path / "a.jsonl"
    path.write_text(
        "\n".join([json.dumps({"text": text}) for text in ("He said so.", "x" * 5000, "She said no.")]), encoding="utf-8"
    )
    first, long, last = read(path)
    assert (first.text, last.text) == ("He said so.", "She said no.")
    assert long.place.endswith(":2") and "more than 1000 bytes" in long.reason


def test_an_article_longer_than_the_config_says_is_rejected(tmp_path):
    (tmp_path / "a.txt").write_text("word " * 80_001, encoding="utf-8")
    (item,) = read(tmp_path / "a.txt")
    assert "400005 characters, more than 400000 (`max_characters`" in item.reason


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".zst", zstd.compress)])
def test_packed_files_that_are_damaged_cut_off_or_bombs(ending, pack, tmp_path, monkeypatch):
    import random

    words = random.Random(1)
    rows = [{"text": f"He said {words.getrandbits(999)}."} for _ in range(2000)]
    data = pack("".join(json.dumps(row) + "\n" for row in rows).encode())
    cut, damaged, bomb = (tmp_path / f"{name}.jsonl{ending}" for name in ("cut", "damaged", "bomb"))
    cut.write_bytes(data[: len(data) // 2])
    half = len(data) // 2
    damaged.write_bytes(data[:half] + bytes(100) + data[half + 100 :])
    for path in (cut, damaged):
        *articles, last = read(path)
        assert isinstance(last, Rejected) and "damaged or cut off" in last.reason
        assert len(articles) < 2000
    bomb.write_bytes(pack(bytes(50_000_000)))
    monkeypatch.setattr(files, "MAX_UNPACKED", 1_000_000)
    (item,) = read(bomb)
    assert isinstance(item, Rejected) and "zip bomb" in item.reason


def test_web_archives_give_their_pages(tmp_path):
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    path = tmp_path / "crawl.warc.gz"
    with path.open("wb") as stream:
        writer = WARCWriter(stream, gzip=True)
        for number, (status, kind, body) in enumerate(
            [
                ("200 OK", "text/html; charset=windows-1251", PAGE.replace("minister", "министр").encode("cp1251")),
                ("200 OK", "image/png", b"\x89PNG"),
                ("404 Not Found", "text/html", PAGE.encode()),
                ("200 OK", "text/plain", b"He said so."),
                ("200 OK", "text/html", b""),
            ]
        ):
            head = StatusAndHeaders(status, [("Content-Type", kind)], protocol="HTTP/1.0")
            address = f"https://wire.example/{number}"
            writer.write_record(writer.create_warc_record(address, "response", payload=io.BytesIO(body), http_headers=head))
    page, text, empty = read(path)
    assert "министр" in page.text and page.url == "https://wire.example/0" and page.title == "Talks"
    assert text.text == "He said so." and text.url == "https://wire.example/3"
    assert isinstance(empty, Rejected) and empty.place.endswith("crawl.warc.gz:5")
    path.write_bytes(path.read_bytes()[:-300])
    assert any(isinstance(item, Rejected) for item in read(path))


@pytest.mark.parametrize("label", ["rot13", "unicode-escape", "idna", "utf-7", "no such", "hex", "cp1252"])
def test_a_label_of_no_encoding_is_passed_over(label):
    text = "He said “no” – déjà vu. " * 5
    assert decode("f", text.encode("cp1252"), label) == text


def test_globs_folders_and_what_they_miss(tmp_path):
    (tmp_path / "b/c").mkdir(parents=True)
    for name in ("b/2.txt", "b/c/1.txt", "a.txt", "b/c.md", "z.TXT"):
        (tmp_path / name).write_text(f"{name} said so.", encoding="utf-8")
    found = [Path(file.path).relative_to(tmp_path).as_posix() for file in find_files([str(tmp_path)])]
    assert found == ["a.txt", "b/2.txt", "b/c/1.txt", "z.TXT"]
    found = [Path(file.path).relative_to(tmp_path).as_posix() for file in find_files([f"{tmp_path}/**/*.txt"])]
    assert found == ["a.txt", "b/2.txt", "b/c/1.txt"]
    assert [file.path for file in find_files([str(tmp_path)], skip=tmp_path / "b")] == [f"{tmp_path}/a.txt", f"{tmp_path}/z.TXT"]
    (item,) = find_files([f"{tmp_path}/*.csv"])
    assert "no file matches" in item.reason


@pytest.mark.parametrize("page", ["<div>" * 200_000, "<table><tr><td>" * 50_000, "<a " + "b=c " * 100_000 + ">"])
def test_deep_html_is_read_or_rejected(page, tmp_path):
    (tmp_path / "p.html").write_text(f"<html><body>{page}{PAGE}", encoding="utf-8")
    assert len(read(tmp_path / "p.html")) == 1


@pytest.mark.parametrize("name", ["a.parquet", "a.warc", "a.csv", "a.jsonl.gz", "a.jsonl.zst", "a.warc.gz"])
@pytest.mark.parametrize("data", [b"", b"\n", b"no such format\n" * 9, bytes(500)])
def test_what_is_no_such_file_is_rejected_and_not_passed_over(name, data, tmp_path):
    (tmp_path / name).write_bytes(data)
    items = read(tmp_path / name)
    assert items and all(isinstance(item, Rejected) and name in item.reason for item in items)


def test_a_page_says_its_encoding(tmp_path):
    page = PAGE.replace("<head>", '<head><meta charset="koi8-r">').replace("minister", "министр иностранных дел")
    (tmp_path / "p.html").write_bytes(page.encode("koi8-r"))
    (article,) = read(tmp_path / "p.html")
    assert "министр иностранных дел" in article.text
