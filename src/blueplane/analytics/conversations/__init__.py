"""The worker ``conversations``: what was asked, answered, run and edited, from every witness.

Owns the worker, and one module for each platform.
Promises one row for each thing, whoever saw it and in whatever order.
Leaves the tables to ``store/conversation_tables.py``.
"""
