"""Health: what is judged, by which figures, and what is wrong.

Owns the judgement of every component, its history and its incidents.
Promises figures that are exact or None, and a sentence with a remedy for whatever is not green.
Leaves counting to the pipeline and showing to the interfaces.
"""
