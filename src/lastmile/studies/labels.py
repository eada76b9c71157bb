"""Words that take the place of a task in tables and claims, and what studies and stages share."""

ALL = "all tasks"
"""All tasks together: the mean over tasks."""
OTHERS = "others"
"""All other tasks than the one at hand."""
RECOVERY_STEPS = 15
"""Steps that a policy has to take back an injected mistake."""
