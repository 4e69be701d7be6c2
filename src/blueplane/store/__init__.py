"""The one SQLite file.

Owns its connections, schema, rows and custody tables, and every SQL statement.
Promises that a write is durable when its transaction returns, and undone when it fails.
Leaves when to commit, and what counts as what, to the pipeline.
"""
