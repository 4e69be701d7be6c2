"""Proving that an install works.

Owns what is done by hand and not while events flow: the canary.
Promises to use nothing but the road of every other event.
Leaves that road to the layers below.
"""
