"""What the data says: workers derive tables from raw traces, reports make figures of the tables.

Owns the workers (``roster.py`` lists them, ``worker.py`` runs them), each with a watermark of its
own, and the reports, each with the names that all interfaces show.
Promises that a worker can be replayed from zero with the same result, and that a report reads
derived tables only.
Leaves the tables to ``store/``, and how a report looks to the interfaces.
"""
