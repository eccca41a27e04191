"""Gold articles: read, check, split, compare annotators, describe, import and export."""

from onrecord.corpus.gold import (
    STYLES,
    CorpusError,
    GoldArticle,
    GoldQuote,
    Labels,
    Problem,
    check,
    gold_paths,
    read_corpus,
    read_gold,
    write_gold,
)
from onrecord.corpus.splits import (
    corpus_hash,
    file_digest,
    invented_people,
    read_split,
    read_splits,
    share_of,
    split_corpus,
)

__all__ = [
    "STYLES",
    "CorpusError",
    "GoldArticle",
    "GoldQuote",
    "Labels",
    "Problem",
    "check",
    "corpus_hash",
    "file_digest",
    "gold_paths",
    "invented_people",
    "read_corpus",
    "read_gold",
    "read_split",
    "read_splits",
    "share_of",
    "split_corpus",
    "write_gold",
]
