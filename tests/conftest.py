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
    from onrecord.corpus import file_digest

    for number in range(len(names)):
        side = "train" if number < 4 else "dev" if number == 4 else "test"
        splits[f"tiny-{number}"] = {"split": side, "sha256": file_digest(articles / f"tiny-{number}.xml")}
    (root / "data/corpus/splits.json").write_text(json.dumps(splits), encoding="utf-8")
    conflict = ROOT / "configs/conflicts/south-caucasus.yaml"
    optimizer = "optimizer: {epochs: 2, batch_size: 4, precision: fp32}\n"
    for name, extra in (("extraction", "window_tokens: 64\noverlap_tokens: 16\n"), ("stance", "window_tokens: 64\n")):
        path = root / f"configs/train/{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"kind: train-{name}\nconflict: {conflict}\noutput: models/{name}\n{extra}{optimizer}", encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def analyzer() -> Analyzer:
    """The shipped pipeline."""
    return Analyzer.load()
