"""Train policies: windows of recorded episodes, the training loop, checkpoints, fine-tuning."""
