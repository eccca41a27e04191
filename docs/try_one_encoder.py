"""One encoder for extraction and stance: what it would give, as a table in docs/decisions/0007-speed.md.

Start: python docs/try_one_encoder.py [--epochs 3] [--start out/train/extraction-first]

The extraction net goes on from a run of its own and also answers, for each quote, whose stance it voices: from the mean of its
vectors over the quote's content and cue in the extraction window that holds most of them, and from the party. So stance costs no
pass of its own, but sources can't be masked. It is scored in PyTorch on gold quotes of dev; nothing here is shipped.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from make_variants import put
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn

from onrecord.config import ConflictConfig, load, resource_root
from onrecord.corpus import GoldArticle, read_split
from onrecord.evaluation import bootstrap, macro_f1
from onrecord.extraction import face_marks, sentence_starts, windows
from onrecord.inference import tokenize
from onrecord.records import is_divergent
from onrecord.training import find_base, load_training
from onrecord.training.examples import collate_extraction, extraction_examples
from onrecord.training.fitting import Run, best_checkpoint
from onrecord.training.nets import ExtractionNet
from onrecord.training.run import tag_f1

ROOT = resource_root()
HIDDEN_PARTY = 0.4  # as configs/train/stance.yaml: how often training hides the party


class OneEncoder(nn.Module):
    """The extraction net with a stance head over a quote's mean vector and its party."""

    def __init__(self, net: ExtractionNet, stances: int, parties: int) -> None:
        super().__init__()
        self.net = net
        self.stance = nn.Linear(net.encoder.width + parties, stances)
        self._hidden: Any = None
        net.encoder.register_forward_hook(lambda module, given, output: setattr(self, "_hidden", output))

    def forward(self, batch: dict[str, Any], quotes: Sequence[tuple[int, list[int]]], parties: torch.Tensor) -> tuple[Any, Any]:
        """The extraction loss with the tags, and stance scores of `quotes`, each a row of the batch and its places there."""
        found = self.net(**batch)
        if not quotes:
            return found, None
        means = torch.stack([self._hidden[row, places].mean(0) for row, places in quotes])
        return found, self.stance(torch.cat([means.float(), parties], -1))


def laid_out(articles: Sequence[GoldArticle], tokenizer: Tokenizer, config: Any, parties: Sequence[str]) -> Iterator[Any]:
    """For each article its windows as examples, and for each window its quotes: number, places, share of the quote it holds."""
    for gold in articles:
        examples = extraction_examples([gold], tokenizer, config, parties)
        pieces = tokenize(tokenizer, face_marks(gold.article.text))
        bounds = windows(
            len(pieces.ids), config.window_tokens - 2, config.overlap_tokens, sentence_starts(gold.article.text, pieces)
        )
        held: list[list[tuple[int, list[int], float]]] = [[] for _ in bounds]
        for number, quote in enumerate(gold.quotes):
            own = [
                piece
                for span in (*quote.content, *quote.cue)
                for piece in np.flatnonzero((pieces.ends > span.start) & (pieces.starts < span.end)).tolist()
            ]
            for window, (low, high) in enumerate(bounds):
                inside = [piece - low + 1 for piece in own if low <= piece < high]
                if inside:
                    held[window].append((number, inside, len(inside) / len(own)))
        yield gold, examples, held


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, score and write the table."""
    parser = argparse.ArgumentParser(description="Try one encoder for extraction and stance.")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--start", type=Path, default=ROOT / "out/train/extraction-first")
    given = parser.parse_args(arguments)
    path = ROOT / "configs/train/extraction-six.yaml"
    config = load_training(path)
    conflict = load(ROOT / "configs/conflicts/south-caucasus.yaml", ConflictConfig)
    parties = tuple(label for label in conflict.party_labels if label != "unknown")
    base = find_base(config.base, path)
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    torch.manual_seed(13)
    net = ExtractionNet(base, config, len(parties))
    net.load_state_dict(load_file(best_checkpoint(Run(given.start)) / "model.safetensors"))
    model = OneEncoder(net, len(conflict.stance_labels), len(parties))
    learned = list(laid_out(read_split(ROOT / "data/corpus", "train"), tokenizer, config, parties))
    dev = list(laid_out(read_split(ROOT / "data/corpus", "dev"), tokenizer, config, parties))
    rows = [(gold, example, held) for gold, examples, held_by in learned for example, held in zip(examples, held_by, strict=True)]

    def party_vectors(labels: Sequence[str], hide: float) -> torch.Tensor:
        vectors = torch.zeros(len(labels), len(parties))
        for place, label in enumerate(labels):
            if label in parties and torch.rand(()) >= hide:
                vectors[place, parties.index(label)] = 1
        return vectors

    net.eval()
    with torch.no_grad():
        first = [net(**collate_extraction([example]))["tags"][0].float().numpy() for _, examples, _ in dev for example in examples]
    encoder = [weights for name, weights in model.named_parameters() if name.startswith("net.encoder.")]
    heads = [weights for name, weights in model.named_parameters() if not name.startswith("net.encoder.")]
    optimizer = torch.optim.AdamW([{"params": encoder, "lr": 1e-4}, {"params": heads, "lr": 1e-3}], weight_decay=0.01)
    steps = given.epochs * -(-len(rows) // 8)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, step / (0.1 * steps)) * (1 - step / steps))
    for _ in range(given.epochs):
        model.train()
        order = torch.randperm(len(rows)).tolist()
        for start in range(0, len(order), 8):
            batch = [rows[place] for place in order[start : start + 8]]
            quotes, labels, whose = [], [], []
            for row, (gold, _, held) in enumerate(batch):
                for number, places, share in held:
                    if share > 0.5:
                        quotes.append((row, places))
                        labels.append(conflict.stance_labels.index(gold.quotes[number].stance))
                        whose.append(gold.quotes[number].party)
            with torch.autocast("cpu", torch.bfloat16):
                found, scores = model(
                    collate_extraction([example for _, example, _ in batch]), quotes, party_vectors(whose, HIDDEN_PARTY)
                )
            loss = found["loss"]
            if scores is not None:
                loss = loss + nn.functional.cross_entropy(scores.float(), torch.tensor(labels), label_smoothing=0.05)
            loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    model.eval()
    answers, tags, gold_tags = [], [], []
    with torch.no_grad():
        for gold, examples, held_by in dev:
            best: dict[int, tuple[float, str]] = {}
            for example, held in zip(examples, held_by, strict=True):
                quotes = [(0, places) for _, places, _ in held]
                whose = [gold.quotes[number].party for number, _, _ in held]
                found, scores = model(collate_extraction([example]), quotes, party_vectors(whose, 0))
                tags.append(found["tags"][0].float().numpy())
                gold_tags.append(np.asarray(example["tag_labels"]))
                for place, (number, _, share) in enumerate(held):
                    label = conflict.stance_labels[int(scores[place].argmax())]
                    best[number] = max(best.get(number, (0.0, "")), (share, label))
            answers.append(
                [
                    (quote.stance, best[number][1], is_divergent(quote.party, quote.stance))
                    for number, quote in enumerate(gold.quotes)
                ]
            )
    everything = bootstrap(answers, lambda items: macro_f1([(a, b) for a, b, _ in items], conflict.stance_labels))
    torn = bootstrap(
        [[item for item in group if item[2]] for group in answers], lambda items: float(np.mean([a == b for a, b, _ in items]))
    )
    lines = [
        "| net | span F1 of tags in windows | stance macro-F1, all | accuracy, divergent |",
        "|---|---|---|---|",
        f"| extraction alone, where it goes on from | {tag_f1(first, gold_tags):.3f} | – | – |",
        f"| one encoder, {given.epochs} epochs | {tag_f1(tags, gold_tags):.3f} | {everything} | {torn} |",
    ]
    put("one encoder", lines)
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
