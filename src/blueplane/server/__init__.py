"""What the running server answers.

Owns the requests over its control socket.
Promises to serve only the user who runs the server.
Leaves what an operation does to the daemon that registers it.
"""
