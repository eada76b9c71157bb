"""Evaluate policies: teacher-forced skills, closed loop, and recovery from injected mistakes.

Also the statistics of all three, checks of the virtual annotators, and videos of episodes.
"""
