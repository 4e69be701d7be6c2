"""Blueplane: private, local telemetry for AI-assisted coding."""

__version__ = "0.1.0"
