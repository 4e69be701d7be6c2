"""Cursor: its hooks, its settings and its stores.

Owns everything that is particular to Cursor.
Promises that the rest of the program needs no word of Cursor's.
Leaves what may be stored to the sanitiser.
"""
