"""Quotes → speakers and parties: names, roles and pronouns resolved in the text, parties by recorded evidence.

The party of a speaker comes from, in this order of trust: the *words* beside the mention, the *registry* at
the article's date, a *metonym* or body, the group's other *mention*; last the *context*, when the extraction
model is sure of it from the words around the source. What none of these tells stays `unknown`. Which way
decided is in the output.
"""

from onrecord.attribution.lexicon import Lexicon, Term
from onrecord.attribution.resolver import Attributor
from onrecord.attribution.text import fold

__all__ = ["Attributor", "Lexicon", "Term", "fold"]
