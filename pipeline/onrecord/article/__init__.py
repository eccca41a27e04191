"""Files of any kind in, Article out: text exactly as read, date, title; bounds and clear refusals.

`files` finds and unpacks files, `readers` the articles in them, cheaply and in a stream; `text` makes an Article of
one. Before that it is a RawArticle, which a worker process may take over.
"""

from onrecord.article.files import SUFFIXES, InputFile, Progress, find_files
from onrecord.article.readers import (
    RawArticle,
    carried,
    raw_articles,
    read_articles,
    read_raw,
)
from onrecord.article.text import MAX_BYTES, ArticleError, Rejected, decode, parse_date, storable

__all__ = [
    "MAX_BYTES",
    "SUFFIXES",
    "ArticleError",
    "InputFile",
    "Progress",
    "RawArticle",
    "Rejected",
    "carried",
    "decode",
    "find_files",
    "parse_date",
    "raw_articles",
    "read_articles",
    "read_raw",
    "storable",
]
