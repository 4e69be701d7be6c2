"""The road between capture and the store.

Owns the stream, its two ends and what is proved of them: intake, consumer, writer, custody.
Promises that nothing is acknowledged or released before its outcome is durable.
Leaves the payload of an event to capture and every SQL statement to the store.
"""
