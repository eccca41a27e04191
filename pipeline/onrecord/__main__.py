"""`python -m onrecord`."""

from onrecord.cli import app

app()
