"""The road between capture and the store: stream, consumer, writer, custody, dead letters."""
