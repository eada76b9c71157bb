"""Where results come from.

Fingerprints of code, manifests of files, and checking results against them.
"""
