"""The rooms over any pile of articles: shards, worker processes, resume, summary, and queries over what came of it.

A run writes a folder (`folder`). Articles are cut into shards by their order alone (`shards`); processes analyze them
(`workers`); `run` puts it together, and goes on where an earlier one was stopped. `query` reads the folder as tables.
"""

from onrecord.batch.folder import BatchError
from onrecord.batch.query import QueryError, query
from onrecord.batch.run import RunSummary, Status, run_batch
from onrecord.batch.shards import Outcome, analyze_raw

__all__ = ["BatchError", "Outcome", "QueryError", "RunSummary", "Status", "analyze_raw", "query", "run_batch"]
