"""Probe what activations of a policy encode, and whether probes generalize across tasks."""
