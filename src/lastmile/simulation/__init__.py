"""Play the tasks: sessions, recorded trajectories, tokens, rollouts and Gymnasium environments."""
