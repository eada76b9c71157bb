"""What a policy knows inside: linear probes on its activations, with baselines and controls."""
