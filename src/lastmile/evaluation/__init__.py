"""Evaluate policies: teacher-forced skills, closed loop, recovery, and their statistics.

Also checks of the virtual annotators, and videos of episodes.
"""
