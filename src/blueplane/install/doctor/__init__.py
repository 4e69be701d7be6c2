"""The doctor: whether everything works, and if not, what to do.

Owns the checks, how they are run, what is mended by itself, and the report for others.
Promises to change nothing unless it is asked to, and to answer in a moment whatever is broken.
Leaves asking the running server, and showing the rows, to the interfaces.
"""
