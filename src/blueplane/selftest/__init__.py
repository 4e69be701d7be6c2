"""A corpus with known truth, taken down the program's own road, and what every view shows of it.

Owns the corpus, its truth, and the comparison.
Promises a truth that knows nothing of the program: ``corpus``, ``story`` and ``truth`` import none
of its parts.
Leaves asking the views, and printing, to the command.
"""
