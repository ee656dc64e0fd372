"""Methods that answer the queries of an episode together, and three files that they share.

joint.py holds support and queries as one set of rows, prototype_descent.py moves prototypes by gradients, and transport.py
divides queries among classes of given sizes.
"""
