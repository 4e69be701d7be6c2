"""Setting up an install, and proving that it works.

Owns what is done once, and not while events flow: the canary, editors' settings, services.
Promises to show what it changes. Leaves the road of an event to the layers below.
"""
