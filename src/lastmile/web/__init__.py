"""Screens in the browser: people annotate, and what they do is recorded."""
