"""Probe what activations of a policy encode: linear probes, and their generalization across tasks."""
