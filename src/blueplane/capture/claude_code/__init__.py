"""Claude Code: its hooks and its transcripts.

Owns everything that is particular to Claude Code.
Promises that the rest of the program needs no word of Claude Code's.
Leaves what may be stored to the sanitiser.
"""
