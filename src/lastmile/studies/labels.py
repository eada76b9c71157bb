"""Words of tables and claims, and what studies and stages share."""

ALL = "all tasks"
"""All tasks together: the mean over tasks."""
OTHERS = "others"
"""All other tasks than the one at hand."""
POLICY = "policy"
"""A policy for one task."""
JOINT_POLICY = "joint policy"
"""A policy for all tasks."""
ANNOTATOR = "annotator"
"""The virtual annotator."""
RECOVERY_STEPS = 15
"""Steps that a policy has to take back an injected mistake."""
