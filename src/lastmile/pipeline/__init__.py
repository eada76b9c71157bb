"""Stages of the workflow, its plan, status and lock."""
