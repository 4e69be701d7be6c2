"""What is derived from raw traces: API calls, sessions, and who saw which turn.

Owns the workers, each with a watermark of its own.
Promises that each can be replayed from zero with the same result.
Leaves the tables to ``store/derived.py``, and showing what is in them to the interfaces.
"""
