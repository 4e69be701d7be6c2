"""The one SQLite file: connections, schema, rows, custody tables and every query."""
