"""Logistic regressions, many at once: the problems, their solver, and its search directions."""
