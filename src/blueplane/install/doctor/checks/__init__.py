"""What is looked at, by theme.

Owns the checks.
Promises that each looks at one thing and changes nothing, and that what another one reports is
skipped, so that one defect is one row.
Leaves running them to ``runner.py``.
"""
