"""The workflow: its stages, how they are planned and run, and how far a study is."""
