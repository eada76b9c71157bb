"""Working on a task: sessions, trajectories, tokens, and environments."""
