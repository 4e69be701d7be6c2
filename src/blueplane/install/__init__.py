"""Setting up, and proving that it works: the canary today, editors and services to come."""
