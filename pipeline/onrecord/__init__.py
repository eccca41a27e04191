"""onrecord: who said it, for whom, and whose position it voices.

article → quotes (extraction) → speakers and parties (attribution) → stance and attitude (stance)
→ statement records (records, analyzer) → metrics and pages (evaluation, reports)

batch runs the rooms over any pile of articles, into a folder that SQL can ask.
"""

__version__ = "0.1.0"

from onrecord.analyzer import Analyzer
from onrecord.article import read_articles
from onrecord.records import Article, Quote, Statement

__all__ = ["Analyzer", "Article", "Quote", "Statement", "__version__", "read_articles"]
