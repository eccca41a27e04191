"""Write docs/scale.md: what a hundred million articles take, from measured speed and stated prices.

Start: python docs/make_scale.py [--speed CHARACTERS_A_SECOND] [--articles N]

The speed of one process is that of docs/bench/metrics.json (`make bench` writes it); without it, --speed; without both, it
is measured here over the dev articles, as the size of the output and the pace of the reading machine always are.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import pickle
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

from onrecord.article import find_files, raw_articles
from onrecord.batch import run_batch
from onrecord.batch.shards import cut
from onrecord.config import AnalyzeConfig
from onrecord.corpus import GoldArticle, read_split

ROOT = Path(__file__).resolve().parents[1]

# A stated round number: agency news is shorter, long reports are longer; costs grow in proportion.
CHARACTERS = 3_000
# Virtual CPUs of one machine, and dollars for one of them an hour: AWS c6i and c5 on demand in US East, Linux, 0.34 $ an
# hour for 8 (their long-standing list price; not looked up again in 2026). Interruptible ("spot") ones: 0.18 $ for 8, an example in AWS's own guide to Auto Scaling.
MACHINE, ON_DEMAND, SPOT = 32, 0.34 / 8, 0.18 / 8
# Dollars for a GB stored for a month, and for 1,000 writes: AWS S3 Standard in US East (its long-standing list price; not looked up again in 2026).
STORED, WRITES = 0.023, 0.005
# Share of the machines' hours that is not spent on articles: starting, the last shards, lost machines. An assumption.
OVERHEAD = 0.10
# Dollars for a million tokens in and out, as OpenAI's price list had them in March 2026 by third-party copies of it, and what its batch mode takes off.
LLMS = {"GPT-4o mini": (0.15, 0.60), "GPT-4.1 mini": (0.40, 1.60), "GPT-5 mini": (0.25, 2.00), "GPT-5": (1.25, 10.00)}
BATCH = 0.5
# English text has about four characters a token. The instructions are the codebook's first half, without examples; of a
# statement, the answer holds what the record does beside the quote: labels, speaker, attitudes. Both are assumptions.
CHARACTERS_PER_TOKEN, INSTRUCTIONS, ANSWER = 4, 1_500, 60
# Text that the reading machine is timed with: enough that its start does not count.
READ_CHARACTERS = 30_000_000
# What Ray Data 2.60 takes to hand out a shard and bring its mark back [seconds]: of the command's processor, and in all.
HANDING, HANDING_BUSY = 0.009, 0.020
HANDING_HOW = "1,500 shards of 0.8 MB, no work in them"

TEXT = """# A hundred million articles

Written by `python docs/make_scale.py`; prices and assumptions stand at its top, each with its source.
{origin}

## What it takes

{articles:,} articles of {characters:,} characters are {total:.2e} characters. One process with one thread reads
{speed:,.0f} characters a second, so the work is **{hours:,.0f} hours of one virtual CPU**, if that is what the speed was measured on,
{overhead:.0%} for starting, waiting and lost machines included. Processes share nothing, so more machines cost the same and take less
time:

{machines}

Interruptible machines are what this is made for: a machine that is taken away loses at most the shard that each of its
processes is at, some {shard_minutes:.1f} minutes of work ({shard} articles). A worker takes half a gigabyte of memory.

## Beside an LLM

An article is {article_tokens:,.0f} tokens, and the instructions, sent with each, are {instructions:,}. The answer is {answer_tokens:,.0f} tokens: an
article of this length has {quotes:.1f} quotes (as in the dev split), each with a content of {content:.0f} characters and {answer} tokens of
labels. Reasoning tokens and retries, which add, and cached instructions, which save, are not counted. All {articles:,} articles:

{llms}

The cheapest of these in batch mode is **{times:,.0f} times** the price of on-demand machines. This compares prices, not answers: how
good ours are is in [the dev report](dev/report.md), and no LLM was run on the same articles.

## What the bottleneck is

The models' passes: nothing else takes time worth counting, until one machine can no longer feed the workers. It unpacks and cuts
{reads:,.0f} million characters of packed JSON Lines a second ({network:.1f} Gbit a second on the network), and a worker takes {speed:,.0f}.
By reading alone one command could feed {most:,} workers, {most_machines:,} machines of {machine}. Handing out through Ray Data is narrower: a shard
took {handing:.0f} ms of the command's processor, which is {handed:,} workers, and {handing_busy:.0f} ms in all where workers, command and other programs
shared two processors ({handing_how}). Runs on several machines were measured on two nodes only, so
that the hours above are computed. Where feeding is the bottleneck, make shards larger (`shard_articles`), or run several commands
over parts of the archive, each with a run folder of its own. Folders of small files in a store are read by the workers themselves,
but listed by the command.

What is written is {out_gb:,.0f} GB of Parquet ({out_bytes:,.0f} bytes an article) in {shards:,} shards of {shard}, three objects each: {put:,.0f} $ to
put in an object store and {store:,.0f} $ a month to keep. All marks are read once when a run is gone on with, 32 at a time: some minutes.

## A cluster

Every machine has the same release, the same models, and sees the inputs (paths must be the same everywhere, URLs are) and the run
folder: on a shared file system, or in an object store.

```
pip install 'onrecord[ray]'
ray start --head --port 6379 --disable-usage-stats                  # on one machine; it prints its address
ray start --address 10.0.0.1:6379 --disable-usage-stats             # on each of the others
onrecord analyze s3://bucket/archive --out s3://bucket/run --engine ray --ray-address 10.0.0.1:6379
ray stop                                                            # on each, after
```

The command runs on one of the machines, reads the inputs there and hands out shards as the rows of a Ray Data set. Its pool of
workers follows the machines that join and leave while it runs: one worker a CPU, at most N with `--workers N`. When a machine is
lost its shards are done again; when the command is killed, the same command goes on. Rows are those of `--engine local`,
whichever began the run. An article during which a process (not its machine) is lost twice is rejected. A machine with another
release, other models, or no sight of the run folder is refused with a letter that names it. Without `--ray-address` it is
RAY_ADDRESS, else the cluster that the machine is a node of, else one of this machine alone. Ray opens ports without passwords to
whoever reaches them: keep the cluster in a network of its own.

## Object stores

Inputs and run folders may be URLs, with both engines: `s3://`, `gs://` and `abfs://` through pyarrow, which the extra `batch`
brings; others through fsspec and its package for that store. Keys, region and endpoint are what AWS_ACCESS_KEY_ID,
AWS_ENDPOINT_URL, GOOGLE_APPLICATION_CREDENTIALS and the like say. Nothing goes over the network that no URL names.

A shard's rows are put whole and its mark after them; nothing is renamed. Two things differ from a disk: `quarantine.jsonl` is
written when a run ends or is gone on with, not while it runs, and there is no lock, so that two runs at once do the work twice.
A network that fails ends the run, and the same command goes on: rejecting the rest of a file for it would lose articles.

## Reading the results

`onrecord query SQL s3://bucket/run` asks the finished shards of a run, wherever it is. DuckDB alone reads the same files, many at
once:

```sql
INSTALL httpfs; LOAD httpfs;
CREATE SECRET (TYPE s3, PROVIDER credential_chain);
SELECT party.label, stance.label, count(*)
FROM read_parquet('s3://bucket/run/statements/*.parquet')
GROUP BY ALL;
```

Until the run is complete, such a glob also reads parts that have no mark yet. Columns that a query does not name are not fetched.
For many queries, copy once to fewer, larger files:

```sql
COPY (FROM read_parquet('s3://bucket/run/statements/*.parquet'))
TO 'statements' (FORMAT parquet, PARTITION_BY (outlet), COMPRESSION zstd);
```
"""


def trial(articles: list[GoldArticle]) -> tuple[float, float]:
    """Characters a second of one process, and bytes of Parquet for a character read, over a small run."""
    with tempfile.TemporaryDirectory() as folder:
        inputs, out = Path(folder) / "in.jsonl", Path(folder) / "run"
        inputs.write_text("".join(_line(gold, 0) for gold in articles), encoding="utf-8")
        run_batch([str(inputs)], out, workers=1)
        rows = pq.read_table(out / "articles").to_pylist()
        size = sum(part.stat().st_size for room in ("statements", "articles") for part in (out / room).iterdir())
    characters = sum(row["characters"] for row in rows)
    return characters / sum(row["seconds"] for row in rows), size / characters


def reading(articles: list[GoldArticle], shard: int) -> float:
    """Characters a second that one machine reads from packed JSON Lines and makes ready to be sent."""
    with tempfile.TemporaryDirectory() as folder:
        inputs, written = Path(folder) / "in.jsonl.gz", 0
        with gzip.open(inputs, "wt", encoding="utf-8", compresslevel=6) as stream:
            while written < READ_CHARACTERS:
                for gold in articles:
                    stream.write(_line(gold, written))
                    written += len(gold.article.text)
        start = time.perf_counter()
        for each in cut(raw_articles(find_files([str(inputs)])), shard, int):
            pickle.dumps(each)
        return written / (time.perf_counter() - start)


def _line(gold: GoldArticle, number: int) -> str:
    return json.dumps({"text": gold.article.text, "id": f"{gold.article.id}-{number}"}) + "\n"


def table(head: str, rows: list[list[str]]) -> str:
    """Rows as Markdown."""
    return "\n".join([head, "|" + "---|" * head.count(" | ") + "---|", *("| " + " | ".join(row) + " |" for row in rows)])


def page(count: int, given: float | None) -> str:
    """The text of docs/scale.md for `count` articles."""
    dev = read_split(ROOT / "data/corpus", "dev")
    shard = AnalyzeConfig(kind="analyze").shard_articles
    own_speed, bytes_per_character = trial(dev)
    reads = reading(dev, shard)
    metrics = ROOT / "docs/bench/metrics.json"
    if metrics.exists():
        speed = float(json.loads(metrics.read_text(encoding="utf-8"))["characters_per_second"])
        origin = "The speed of a process is that of `make bench`."
    elif given is not None:
        speed, origin = given, "The speed of a process is an assumption: it was given with --speed."
    else:
        speed, origin = (
            own_speed,
            f"The speed of a process was measured over the {len(dev)} dev articles by this command, not by `make bench`.",
        )
    origin += " What is read and written was\nmeasured by this command, on one core."
    text = sum(len(gold.article.text) for gold in dev)
    quotes = sum(len(gold.quotes) for gold in dev) / text * CHARACTERS
    content = sum(span.end - span.start for gold in dev for quote in gold.quotes for span in quote.content)
    content /= sum(len(gold.quotes) for gold in dev)
    hours = count * CHARACTERS / speed / 3600 * (1 + OVERHEAD)
    cost = hours * ON_DEMAND
    article, answer = CHARACTERS / CHARACTERS_PER_TOKEN, quotes * (content / CHARACTERS_PER_TOKEN + ANSWER)
    sent, got = count * (article + INSTRUCTIONS) / 1e6, count * answer / 1e6
    llms = {name: sent * price_in + got * price_out for name, (price_in, price_out) in LLMS.items()}
    shards = math.ceil(count / shard)
    most, handed = int(reads / speed), int(shard * CHARACTERS / speed / HANDING)
    out_bytes = bytes_per_character * CHARACTERS
    machines = [
        [f"{number}", f"{number * MACHINE:,}", f"{hours / number / MACHINE:,.1f}", f"{cost:,.0f} $", f"{hours * SPOT:,.0f} $"]
        for number in (1, 10, 30, 100)
        if number * MACHINE <= min(most, handed)
    ]
    return TEXT.format(
        origin=origin,
        articles=count,
        characters=CHARACTERS,
        total=count * CHARACTERS,
        speed=speed,
        hours=hours,
        overhead=OVERHEAD,
        machines=table(
            f"| machines of {MACHINE} virtual CPUs | workers | hours | cost on demand | cost interruptible |", machines
        ),
        shard=shard,
        shard_minutes=shard * CHARACTERS / speed / 60,
        article_tokens=article,
        instructions=INSTRUCTIONS,
        answer_tokens=answer,
        quotes=quotes,
        content=content,
        answer=ANSWER,
        llms=table(
            "| model | $ a million tokens in, out | tokens in | tokens out | cost | in batch mode |",
            [
                [
                    name,
                    f"{LLMS[name][0]:.2f}, {LLMS[name][1]:.2f}",
                    f"{sent * 1e6:.2e}",
                    f"{got * 1e6:.2e}",
                    f"{price:,.0f} $",
                    f"{price * BATCH:,.0f} $",
                ]
                for name, price in llms.items()
            ],
        ),
        times=min(llms.values()) * BATCH / cost,
        reads=reads / 1e6,
        most=most,
        most_machines=most // MACHINE,
        handing=HANDING * 1000,
        handing_busy=HANDING_BUSY * 1000,
        handing_how=HANDING_HOW,
        handed=handed,
        machine=MACHINE,
        network=reads * 8 / 1e9,
        out_bytes=out_bytes,
        out_gb=out_bytes * count / 1e9,
        shards=shards,
        put=3 * shards / 1000 * WRITES,
        store=out_bytes * count / 1e9 * STORED,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", type=float, help="Characters a second of one process, until `make bench` has measured it.")
    parser.add_argument("--articles", type=int, default=100_000_000)
    options = parser.parse_args()
    (ROOT / "docs/scale.md").write_text(page(options.articles, options.speed), encoding="utf-8")
