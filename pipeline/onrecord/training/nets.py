"""The nets: one encoder each, with heads for tags, links and parties, or for stance and attitudes."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel

from onrecord.config import ExtractionTrainConfig, StanceTrainConfig, resolve
from onrecord.extraction import DISTANCE_BUCKETS, PARTS, RELATIONS, SHAPES
from onrecord.records import ATTITUDES
from onrecord.stance import TYPES

IGNORE = -100
BIAS_SCALE = 10.0
EXTRACTION_OUTPUTS = ("tags", "queries", "keys", "nulls", "parties")


class TrainingError(RuntimeError):
    """Training that can't start or can't go on; the text names the remedy."""


class NotFetched(TrainingError):
    """A base model that only the hub has, when the network may not be used."""


def find_base(base: str, config: Path | None = None, download: bool = True) -> Path:
    """The folder with the weights of a base model.

    Args:
        base: A folder, an installed package that carries weights, or else the name `owner/model` of one on the Hugging Face hub.
        config: The YAML that a relative folder counts from; the working directory where it is not given.
        download: Fetch a hub's model that is not in its cache: the one thing here that uses the network.

    Raises:
        NotFetched: when `download` is off and a hub's model is not in the cache.
        TrainingError: when there is no such folder, package or hub model, or it carries no safetensors weights.
    """
    place = resolve(config, Path(base)) if config else Path(base)
    if place.is_dir():
        roots = [place]
    elif _HUB_NAME.fullmatch(base):
        roots = [_from_hub(base, download)]
    else:
        spec = importlib.util.find_spec(base) if base.isidentifier() else None
        roots = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    for root in roots:
        for weights in sorted(root.rglob("model.safetensors")):
            if all((weights.parent / name).is_file() for name in _BASE_FILES[1:]):
                return weights.parent
    raise TrainingError(
        f"base model {base!r}: neither a folder nor an installed package with {', '.join(_BASE_FILES)}, nor `owner/model` on "
        "the Hugging Face hub. Install the training extra (`make models` does), or set `base` to a folder."
    )


_BASE_FILES = ("model.safetensors", "config.json", "tokenizer.json")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def _from_hub(name: str, download: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(_BASE_FILES), local_files_only=not download))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        if not download and isinstance(error, LocalEntryNotFoundError):
            raise NotFetched(f"base model {name!r}: not in the cache; training fetches it from the Hugging Face hub") from error
        reason = str(error).strip().splitlines()[0]
        raise TrainingError(
            f"base model {name!r}: no such folder, and the Hugging Face hub gave none of that name: {reason}. "
            "Correct `base`, or download the model and set `base` to its folder."
        ) from error


class Encoder(nn.Module):
    """The lowest `layers` of the base (all for None) with room for `types` token types, which start out alike.

    A base that knows no token types (MPNet) gets them as vectors added to those of the words.

    Raises:
        TrainingError: when the base has fewer layers.
    """

    def __init__(self, base: Path, types: int, layers: int | None) -> None:
        super().__init__()
        self.model = AutoModel.from_pretrained(base, add_pooling_layer=False)
        self.width: int = self.model.config.hidden_size
        table = nn.Embedding(types, self.width)
        old = getattr(self.model.embeddings, "token_type_embeddings", None)
        with torch.no_grad():
            table.weight.copy_(torch.zeros(self.width) if old is None else old.weight[0].expand(types, -1))
        self.added_types: nn.Embedding | None = None
        if old is None:
            self.added_types = table
        else:
            self.model.embeddings.token_type_embeddings = table
            self.model.config.type_vocab_size = types
        if layers is not None:
            there = len(self.model.encoder.layer)
            if layers > there:
                raise TrainingError(f"layers: {layers}, but {base} has {there}; set `layers` to {there} or less")
            self.model.encoder.layer = self.model.encoder.layer[:layers]
            self.model.config.num_hidden_layers = layers

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor) -> Any:
        if self.added_types is None:
            inputs = {"input_ids": input_ids, "token_type_ids": token_type_ids}
        else:
            words = self.model.embeddings.word_embeddings(input_ids)
            inputs = {"inputs_embeds": words + self.added_types(token_type_ids)}
        return self.model(**inputs, attention_mask=attention_mask).last_hidden_state


class ExtractionNet(nn.Module):
    """Tag scores for each piece, and vectors that the linker compares."""

    def __init__(self, base: Path, config: ExtractionTrainConfig, parties: int) -> None:
        super().__init__()
        self.encoder = Encoder(base, SHAPES, config.layers)
        width, size, count = self.encoder.width, config.link_size, len(RELATIONS)
        self.dropout = nn.Dropout(config.optimizer.dropout)
        self.tags = nn.Linear(width, len(PARTS) * 3)
        self.queries = nn.Linear(width, count * size)
        self.keys = nn.Linear(width, count * size)
        self.nulls = nn.Linear(width, count)
        self.parties = nn.Linear(width, parties)
        self.party_weight = config.party_weight
        # Near spans belong together: a prior that training refines. Stored small and read times
        # BIAS_SCALE, so that a step of the common learning rate moves it far enough.
        sizes = torch.arange(DISTANCE_BUCKETS // 2).float()
        prior = -0.7 * torch.cat([sizes.flip(0), sizes])
        self.bias = nn.Parameter(prior.repeat(count, 1) / BIAS_SCALE)
        self.link_size, self.link_weight = size, config.link_weight

    def scores(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> tuple[torch.Tensor, ...]:
        """Tags, queries, keys, nulls and parties of each piece: what the exported graph gives."""
        hidden = self.dropout(self.encoder(input_ids, attention_mask, token_type_ids))
        return self.tags(hidden), self.queries(hidden), self.keys(hidden), self.nulls(hidden), self.parties(hidden)

    def forward(
        self, input_ids: Any, attention_mask: Any, token_type_ids: Any, tag_labels: Any = None, **links: Any
    ) -> dict[str, torch.Tensor]:
        tags, queries, keys, nulls, parties = self.scores(input_ids, attention_mask, token_type_ids)
        loss = nn.functional.cross_entropy(tags.reshape(-1, 3), tag_labels.reshape(-1), ignore_index=IGNORE)
        loss = loss + self.link_weight * self._link_loss(queries, keys, nulls, links)
        if bool((links["source_parties"] != IGNORE).any()):
            at_sources = span_mean(parties, links["sources"])
            loss = loss + self.party_weight * nn.functional.cross_entropy(
                at_sources.reshape(-1, at_sources.shape[-1]), links["source_parties"].reshape(-1), ignore_index=IGNORE
            )
        return {"loss": loss, "tags": tags}

    def _link_loss(self, queries: Any, keys: Any, nulls: Any, links: dict[str, Any]) -> torch.Tensor:
        """Mean over contents and relations of -log P(a gold candidate, or none where there is none)."""
        batch, length = nulls.shape[:2]
        count = len(RELATIONS)
        queries = queries.view(batch, length, count, -1)
        keys = keys.view(batch, length, count, -1)
        contents = links["contents"]
        real = contents[..., 0] >= 0
        if not bool(real.any()):
            return torch.zeros(())
        losses = []
        for relation, name in enumerate(RELATIONS):
            others = links[f"{name}s"]
            query = span_mean(queries[:, :, relation], contents)
            key = span_mean(keys[:, :, relation], others)
            null = span_mean(nulls[:, :, relation : relation + 1], contents)
            scores = query @ key.transpose(1, 2) / self.link_size**0.5
            scores = scores + BIAS_SCALE * self.bias[relation][links[f"{name}_buckets"]]
            allowed = links[f"{name}_allowed"] > 0
            scores = scores.masked_fill(~allowed, -1e4)
            full = torch.cat([scores, null], dim=-1)
            gold = torch.cat([links[f"{name}_gold"] > 0, links[f"{name}_gold"].sum(-1, keepdim=True) == 0], dim=-1)
            losses.append((torch.logsumexp(full, -1) - torch.logsumexp(full.masked_fill(~gold, -1e4), -1))[real].mean())
        total: torch.Tensor = torch.stack(losses).mean()
        return total


def span_mean(values: torch.Tensor, spans: torch.Tensor) -> torch.Tensor:
    """Mean of the vectors at the first and last piece of each span; padding spans read piece 0."""
    ends = spans.clamp(min=0)
    rows = torch.arange(values.shape[0]).unsqueeze(1)
    result: torch.Tensor = (values[rows, ends[..., 0]] + values[rows, ends[..., 1]]) / 2
    return result


class StanceNet(nn.Module):
    """One encoder; for each piece stance scores, attitude scores, and a weight that says how much it counts for its quote."""

    def __init__(self, base: Path, config: StanceTrainConfig, loss: nn.Module, stances: int, targets: int) -> None:
        """`loss` is called as a `losses.StanceLoss`."""
        super().__init__()
        self.encoder = Encoder(base, TYPES, config.layers)
        self.dropout = nn.Dropout(config.optimizer.dropout)
        self.stance = nn.Linear(self.encoder.width, stances)
        self.toward = nn.Linear(self.encoder.width, targets * len(ATTITUDES))
        self.weight = nn.Linear(self.encoder.width, 1)
        nn.init.zeros_(self.weight.weight)  # all pieces count alike until training says otherwise
        nn.init.zeros_(self.weight.bias)
        self.targets, self.loss = targets, loss

    def scores(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> tuple[torch.Tensor, ...]:
        """Stance and attitude scores and weight of each piece: what the exported graph gives."""
        hidden = self.dropout(self.encoder(input_ids, attention_mask, token_type_ids))
        return self.stance(hidden), self.toward(hidden), self.weight(hidden)

    def forward(
        self,
        input_ids: Any,
        attention_mask: Any,
        token_type_ids: Any,
        places: Any,
        stance_labels: Any,
        toward_labels: Any,
        divergent: Any = None,
        taught_stance: Any = None,
        taught_toward: Any = None,
    ) -> dict[str, torch.Tensor]:
        """Loss and scores of each quote; `divergent` only rides along to the metrics, which get examples in the sampler's order.

        `places` is rows × quotes × pieces, padded with -1: what `stance.read_off` reads. `taught_stance` and
        `taught_toward` are the teachers' softened answers.
        """
        stance, toward, weight = self.scores(input_ids, attention_mask, token_type_ids)
        rows = torch.arange(len(places)).view(-1, 1, 1)
        at = places.clamp(min=0)
        shares = torch.softmax(weight[rows, at].squeeze(-1).masked_fill(places < 0, -1e4), -1).unsqueeze(-1)
        stance = (shares * stance[rows, at]).sum(2)
        toward = (shares * toward[rows, at]).sum(2)
        taught = (None, None) if taught_stance is None else (taught_stance.flatten(0, 1), taught_toward.flatten(0, 1))
        quotes = (stance.flatten(0, 1), toward.view(-1, self.targets, len(ATTITUDES)))
        loss = self.loss(*quotes, stance_labels.flatten(), toward_labels.flatten(0, 1), *taught)
        return {"loss": loss, "stance": stance}
