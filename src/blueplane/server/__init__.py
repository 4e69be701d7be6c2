"""What the running server answers: requests over its control socket."""
