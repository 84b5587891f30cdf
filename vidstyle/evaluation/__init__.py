"""Evaluation: how steady, sharp and close to the style a result is, and the report of it."""
