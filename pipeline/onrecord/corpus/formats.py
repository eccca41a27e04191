"""Gold articles to and from other tools' formats: brat, Label Studio, CoNLL-U, Hugging Face datasets.

Each writer carries texts and quotes whole. What a format has no place for is named before anything is
written, and stops the export unless the caller allows the loss.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onrecord.corpus.gold import NOT_XML, PARTS, CorpusError, GoldArticle, GoldQuote, Problem
from onrecord.records import NO_STANCE, UNKNOWN, Article, Span

_BRAT_PARTS = {"Content": "content", "Cue": "cue", "Source": "source"}
_FILE_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})")
_CONLL_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Format:
    """A format: how it is written and read, and what it has no place for."""

    write: Callable[[Sequence[GoldArticle], Path], None]
    read: Callable[[Path], list[GoldArticle]]
    loses: Callable[[Sequence[GoldArticle]], list[str]]


def export_corpus(articles: Sequence[GoldArticle], name: str, out: Path, *, allow_loss: bool = False) -> list[str]:
    """Write `articles` in the format `name` to the file or folder `out`.

    Returns:
        What was lost, in words; empty when nothing was.

    Raises:
        CorpusError: when something would be lost and `allow_loss` is not set.
    """
    lost = FORMATS[name].loses(articles)
    if lost and not allow_loss:
        message = f"{name} can't carry: {'; '.join(lost)}. Add --allow-loss to write the rest"
        raise CorpusError([Problem(out, 1, message)])
    FORMATS[name].write(articles, out)
    return lost


def import_corpus(name: str, path: Path) -> list[GoldArticle]:
    """Read gold articles from the file or folder `path` in the format `name`.

    Raises:
        CorpusError: naming file and line of what does not fit the format.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    return [storable(gold) for gold in FORMATS[name].read(path)]


def storable(gold: GoldArticle) -> GoldArticle:
    """The article with U+FFFD for each character that a gold file can't hold; offsets stay."""
    text = NOT_XML.sub("\ufffd", gold.article.text)
    if text == gold.article.text:
        return gold

    def again(spans: tuple[Span, ...]) -> tuple[Span, ...]:
        return tuple(Span.of(text, span.start, span.end) for span in spans)

    quotes = tuple(quote.model_copy(update={part: again(getattr(quote, part)) for part in PARTS}) for quote in gold.quotes)
    return replace(gold, article=gold.article.model_copy(update={"text": text}), quotes=quotes)


def _nothing(articles: Sequence[GoldArticle]) -> list[str]:
    return []


def to_plain(gold: GoldArticle) -> dict[str, Any]:
    """A gold article as plain data: offsets, labels and metadata, keys stable."""
    article = gold.article
    return {
        "id": article.id,
        "date": article.date.isoformat() if article.date else None,
        "title": article.title,
        "outlet": article.outlet,
        "url": article.url,
        "style": gold.style,
        "story": gold.story,
        "text": article.text,
        "quotes": [
            {
                "q": quote.q,
                "type": quote.type,
                "speaker": quote.speaker,
                "party": quote.party,
                "stance": quote.stance,
                "toward": [{"party": target, "attitude": attitude} for target, attitude in quote.toward.items()],
                **{part: [{"start": s.start, "end": s.end} for s in getattr(quote, part)] for part in PARTS},
            }
            for quote in gold.quotes
        ],
    }


def from_plain(data: dict[str, Any], path: Path) -> GoldArticle:
    """The gold article that `to_plain` made `data` of.

    Raises:
        CorpusError: naming the field that is missing or wrong.
    """
    try:
        text = data["text"]
        quotes = tuple(
            GoldQuote(
                q=row["q"],
                type=row["type"],
                speaker=row["speaker"],
                party=row["party"],
                stance=row["stance"],
                toward={item["party"]: item["attitude"] for item in row["toward"] or ()},
                **{part: tuple(Span.of(text, s["start"], s["end"]) for s in row[part] or ()) for part in PARTS},
            )
            for row in data["quotes"] or ()
        )
        article = Article(
            id=data["id"],
            text=text,
            title=data["title"],
            date=dt.date.fromisoformat(data["date"]) if data["date"] else None,
            outlet=data["outlet"],
            url=data["url"],
        )
        return GoldArticle(article, quotes, data["style"], data["story"], path)
    except (KeyError, TypeError, ValueError) as error:
        raise CorpusError([Problem(path, 1, f"not an article in this format: {error!r}")]) from error


# Hugging Face datasets (Parquet): one row an article, quotes as a list of structs.


def _write_datasets(articles: Sequence[GoldArticle], out: Path) -> None:
    from datasets import Dataset

    out.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_list([to_plain(gold) for gold in articles], features=_features()).to_parquet(str(out))


def _features() -> Any:
    from datasets import Features, List, Value

    text, spans = Value("string"), List({"start": Value("int64"), "end": Value("int64")})
    quote = dict.fromkeys(("q", "type", "speaker", "party", "stance"), text)
    return Features(
        dict.fromkeys(("id", "date", "title", "outlet", "url", "style", "story", "text"), text)
        | {"quotes": List({**quote, "toward": List({"party": text, "attitude": text}), **dict.fromkeys(PARTS, spans)})}
    )


def _read_datasets(path: Path) -> list[GoldArticle]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise CorpusError([Problem(path, 1, f"not a Parquet file: {error}")]) from error
    return [from_plain(row, path) for row in rows]


# Label Studio: tasks with one annotation; regions carry their quote, relations join them, metadata is data.


def _write_label_studio(articles: Sequence[GoldArticle], out: Path) -> None:
    tasks = []
    for gold in articles:
        plain = to_plain(gold)
        result: list[dict[str, Any]] = []
        for quote in gold.quotes:
            anchor = f"{quote.q}-content-0"
            for part in PARTS:
                for number, span in enumerate(getattr(quote, part)):
                    region = f"{quote.q}-{part}-{number}"
                    value = {"start": span.start, "end": span.end, "text": span.text, "labels": [part]}
                    result.append({"id": region, "from_name": "part", "to_name": "text", "type": "labels", "value": value})
                    if region != anchor:
                        result.append({"type": "relation", "from_id": anchor, "to_id": region, "direction": "right"})
            place = {"start": quote.content[0].start, "end": quote.content[0].end}
            for name in ("type", "party", "stance"):
                value = {**place, "choices": [getattr(quote, name)]}
                result.append({"id": anchor, "from_name": name, "to_name": "text", "type": "choices", "value": value})
            toward = [f"{target}:{attitude}" for target, attitude in quote.toward.items()]
            value = {**place, "choices": toward}
            result.append({"id": anchor, "from_name": "toward", "to_name": "text", "type": "choices", "value": value})
            value = {**place, "text": [quote.speaker]}
            result.append({"id": anchor, "from_name": "speaker", "to_name": "text", "type": "textarea", "value": value})
        data = {name: value for name, value in plain.items() if name != "quotes"}
        tasks.append({"data": data, "annotations": [{"result": result}]})
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(tasks, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _read_label_studio(path: Path) -> list[GoldArticle]:
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorpusError([Problem(path, 1, f"not JSON: {error}")]) from error
    if not isinstance(tasks, list):
        raise CorpusError([Problem(path, 1, "expected a list of Label Studio tasks")])
    articles = []
    for task in tasks:
        quotes: dict[str, dict[str, Any]] = {}
        try:
            for item in task["annotations"][0]["result"]:
                if item["type"] == "relation":
                    continue
                q = item["id"].rsplit("-", 2)[0]
                row = quotes.setdefault(q, {"q": q, "toward": [], **{part: [] for part in PARTS}})
                value = item["value"]
                if item["type"] == "labels":
                    row[value["labels"][0]].append({"start": value["start"], "end": value["end"]})
                elif item["from_name"] == "toward":
                    pairs = [choice.rpartition(":") for choice in value["choices"]]
                    row["toward"] = [{"party": party, "attitude": attitude} for party, _, attitude in pairs]
                else:
                    row[item["from_name"]] = value.get("choices", value.get("text"))[0]
            articles.append(from_plain({**task["data"], "quotes": list(quotes.values())}, path))
        except (KeyError, IndexError, TypeError) as error:
            raise CorpusError([Problem(path, 1, f"not a task of this labelling setup: {error!r}")]) from error
    return articles


# CoNLL-U: a token a line with begin / inside tags of every quote; metadata and labels in comments.


def _write_conll(articles: Sequence[GoldArticle], out: Path) -> None:
    lines: list[str] = []
    for gold in articles:
        plain = to_plain(gold)
        text = plain.pop("text")
        quotes = plain.pop("quotes")
        lines.append("# article = " + json.dumps(plain, ensure_ascii=False))
        for quote in quotes:
            labels = {name: value for name, value in quote.items() if name not in PARTS}
            lines.append("# quote = " + json.dumps(labels, ensure_ascii=False))
        edges = {edge for q in gold.quotes for part in PARTS for s in getattr(q, part) for edge in (s.start, s.end)}
        tokens = _tokens(text, edges)
        lines.append("# before = " + json.dumps(text[: tokens[0][0]] if tokens else text))
        tags: list[list[str]] = [[] for _ in tokens]
        for quote in quotes:
            for part in PARTS:
                for span in quote[part]:
                    inside = [i for i, (a, b) in enumerate(tokens) if span["start"] <= a and b <= span["end"]]
                    for i in inside:
                        tags[i].append(f"{'B' if i == inside[0] else 'I'}-{part}-{quote['q']}")
        for number, (start, end) in enumerate(tokens):
            after = tokens[number + 1][0] if number + 1 < len(tokens) else len(text)
            spaces = "SpacesAfter=" + json.dumps(text[end:after])
            lines.append(
                f"{number + 1}\t{json.dumps(text[start:end], ensure_ascii=False)}\t{'|'.join(tags[number]) or 'O'}\t{spaces}"
            )
        lines.append("")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _tokens(text: str, edges: Iterable[int]) -> list[tuple[int, int]]:
    """Tokens of `text`, cut also where a span begins or ends, so that every span is whole tokens."""
    bounds: list[tuple[int, int]] = []
    cuts = sorted(edges)
    spans = [match.span() for match in _CONLL_WORD.finditer(text)]
    # A span may begin or end in white space (never in gold files, but in imported ones): then that is a token.
    covered = [place for span in spans for place in span]
    loose = [
        cut for cut in cuts if 0 < cut < len(text) and text[cut - 1].isspace() and text[cut].isspace() and cut not in covered
    ]
    for start, end in spans:
        inner = [start, *(cut for cut in cuts if start < cut < end), end]
        bounds += list(zip(inner, inner[1:], strict=False))
    bounds += [(cut, cut + 1) for cut in loose]
    return sorted(bounds)


def _read_conll(path: Path) -> list[GoldArticle]:
    articles = []
    meta: dict[str, Any] | None = None
    quotes: list[dict[str, Any]] = []
    text = ""
    open_spans: dict[str, dict[str, int]] = {}

    def finish() -> None:
        if meta is not None:
            articles.append(from_plain({**meta, "text": text, "quotes": quotes}, path))

    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        try:
            if line.startswith("# article = "):
                finish()
                meta, quotes, text, open_spans = json.loads(line[12:]), [], "", {}
            elif line.startswith("# quote = "):
                quotes.append({**json.loads(line[10:]), **{part: [] for part in PARTS}})
            elif line.startswith("# before = "):
                text = json.loads(line[11:])
            elif line.strip():
                _, word, tags, spaces = line.split("\t")
                start = len(text)
                text += json.loads(word)
                for tag in tags.split("|") if tags != "O" else ():
                    kind, part, q = tag.split("-", 2)
                    if kind == "B":
                        open_spans[f"{part}-{q}"] = {"start": start, "end": len(text)}
                        next(row for row in quotes if row["q"] == q)[part].append(open_spans[f"{part}-{q}"])
                    else:
                        open_spans[f"{part}-{q}"]["end"] = len(text)
                text += json.loads(spaces.removeprefix("SpacesAfter="))
        except (ValueError, KeyError, StopIteration) as error:
            raise CorpusError([Problem(path, number, f"not a line of this format: {error!r}")]) from error
    finish()
    return articles


# brat standoff: NAME.txt and NAME.ann; also PolNeAR's files, which carry no parties and stances.


def _brat_loses(articles: Sequence[GoldArticle]) -> list[str]:
    return ["title, date, outlet, url, style and story of articles"] if articles else []


def _write_brat(articles: Sequence[GoldArticle], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for gold in articles:
        text = gold.article.text
        lines: list[str] = []
        count = 0
        for event, quote in enumerate(gold.quotes, start=1):
            roles = []
            for name, part in _BRAT_PARTS.items():
                spans = getattr(quote, part)
                if spans:
                    count += 1
                    places = ";".join(f"{s.start} {s.end}" for s in spans)
                    lines.append(f"T{count}\t{name} {places}\t{_flat(' '.join(s.text for s in spans))}")
                    roles.append(f"{name}:T{count}")
            count += 1
            anchor = (quote.cue or quote.content)[0]
            lines.append(f"T{count}\tAttribution {anchor.start} {anchor.end}\t{_flat(text[anchor.start : anchor.end])}")
            lines.append(f"E{event}\tAttribution:T{count} {' '.join(roles)}")
            labels = {"q": quote.q, "type": quote.type, "speaker": quote.speaker, "party": quote.party}
            labels |= {"stance": quote.stance, "toward": " ".join(f"{t}:{a}" for t, a in quote.toward.items())}
            lines.append(f"#{event}\tAnnotatorNotes E{event}\t{json.dumps(labels, ensure_ascii=False)}")
        (out / f"{gold.article.id}.txt").write_bytes(text.encode("utf-8"))
        (out / f"{gold.article.id}.ann").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """A span without white space at its ends, which gold files don't allow."""
    inner = text[start:end]
    return start + len(inner) - len(inner.lstrip()), end - len(inner) + len(inner.rstrip())


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans in order, empty ones left out; those that touch or overlap are one, as in a gold file."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        elif start < end:
            result.append((start, end))
    return result


def _flat(text: str) -> str:
    return " ".join(text.split())


def _read_brat(path: Path) -> list[GoldArticle]:
    """Read a folder of .txt and .ann files, side by side or in folders of their own (PolNeAR).

    Where several annotators labelled one text, the first file in sorted order counts.
    """
    texts = {file.stem: file for file in sorted(path.rglob("*.txt"))}
    if not texts:
        remedy = (
            "a folder with .txt and .ann files is expected; unpack an archive first" if path.is_file() else "name their folder"
        )
        raise CorpusError([Problem(path, 1, f"no .txt files here: {remedy}")])
    notes: dict[str, Path] = {}
    for file in sorted(path.rglob("*.ann")):
        owner = next((stem for stem in (file.stem, *_shorter(file.stem)) if stem in texts), None)
        if owner is not None:
            notes.setdefault(owner, file)
    return [_read_brat_article(stem, file, notes.get(stem)) for stem, file in texts.items()]


def _shorter(stem: str) -> list[str]:
    """Names that an annotator's mark may have been added to: *a_b_c* → *a_b*, *a*; *a.x* → *a*."""
    parts = re.split(r"([_.])", stem)
    return ["".join(parts[:end]) for end in range(len(parts) - 2, 0, -2)]


def _read_brat_article(stem: str, file: Path, notes: Path | None) -> GoldArticle:
    text = file.read_bytes().decode("utf-8")
    spans: dict[str, tuple[str, list[tuple[int, int]]]] = {}
    events: list[tuple[str, dict[str, list[str]]]] = []
    labels: dict[str, dict[str, str]] = {}
    for number, line in enumerate(notes.read_text(encoding="utf-8").split("\n") if notes else [], start=1):
        fields = line.split("\t")
        try:
            # Other lines continue the text of a span that holds a newline; the text file is what counts.
            if re.match(r"T\d+\t", line):
                kind, _, places = fields[1].partition(" ")
                pairs = [(int(a), int(b)) for a, b in (place.split() for place in places.split(";"))]
                spans[fields[0]] = (kind, pairs)
            elif re.match(r"E\d+\t", line):
                roles: dict[str, list[str]] = {}
                for role in fields[1].split()[1:]:
                    name, _, target = role.partition(":")
                    roles.setdefault(name.rstrip("0123456789"), []).append(target)
                events.append((fields[0], roles))
            elif re.match(r"#\d+\tAnnotatorNotes E", line):
                note = json.loads(fields[2]) if fields[2].startswith("{") else {}
                labels[fields[1].split()[1]] = note
        except (ValueError, IndexError) as error:
            raise CorpusError([Problem(notes or file, number, f"not a line of brat standoff: {error!r}")]) from error
    quotes = []
    for number, (event, roles) in enumerate(events, start=1):
        parts = {
            part: tuple(
                Span.of(text, start, end)
                for start, end in _merged(_trimmed(text, *p) for target in roles.get(name, ()) for p in spans[target][1])
            )
            for name, part in _BRAT_PARTS.items()
        }
        if not parts["content"]:
            continue
        note = labels.get(event, {})
        from onrecord.extraction import quote_type

        quotes.append(
            GoldQuote(
                q=note.get("q", str(number)),
                type=note.get("type") or quote_type([span.text for span in parts["content"]]),  # type: ignore[arg-type]
                speaker=note.get("speaker", UNKNOWN),
                party=note.get("party", UNKNOWN),
                stance=note.get("stance", NO_STANCE),
                toward=dict(item.split(":", 1) for item in note.get("toward", "").split()),
                content=parts["content"],
                cue=parts["cue"],
                source=parts["source"],
            )
        )
    found = _FILE_DATE.search(stem)
    date = dt.date.fromisoformat(found.group(1)) if found else None
    article = Article(id=stem, text=text, date=date, outlet=stem.split("_")[0] or None)
    return GoldArticle(article, tuple(quotes), "newspaper", stem, file)


FORMATS: dict[str, Format] = {
    "brat": Format(_write_brat, _read_brat, _brat_loses),
    "label-studio": Format(_write_label_studio, _read_label_studio, _nothing),
    "conll": Format(_write_conll, _read_conll, _nothing),
    "datasets": Format(_write_datasets, _read_datasets, _nothing),
}
