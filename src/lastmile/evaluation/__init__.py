"""Evaluate policies: teacher-forced skills, closed loop, recovery from injected mistakes, deferral.

Also the statistics of them, checks of the virtual annotators, and videos of episodes.
"""
