"""Evaluate policies: teacher-forced skills, closed loop, recovery from injected mistakes, and the
statistics of all three. Also checks of the virtual annotators, and videos of episodes.
"""
