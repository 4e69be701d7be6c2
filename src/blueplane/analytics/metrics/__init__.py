"""Metrics: what people did with an agent, as figures.

Owns the road from the activity of a session to figures: ``store/activity.py`` (what happened),
``measure.py`` (what can be added up of it), ``vector.py`` (adding up), ``catalogue.py`` (figures).
Promises that a figure of a week is made of what its days were made of, and that unknown stays so.
Leaves storing to ``store/metric_rollups.py``, and who asks for what to the interfaces.
"""
