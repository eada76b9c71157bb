"""How good a policy is: teacher-forced skills, closed loop, recovery after injected mistakes, and the statistics of all three."""
