"""Templates of tasks, and `lastmile new-task`, which makes a task from one of them.

Each folder here is a complete, working task that is not registered: `place` annotates by placing
points, `decide` by pressing buttons. They are ordinary modules, so that linters, the type checker
and the tests read them.
"""
