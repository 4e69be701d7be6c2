"""What is done to an install, and not while events flow.

Owns the server in the background, and the canary that proves that the road is open.
Promises that the canary takes the road of every other event.
Leaves that road to the layers below.
"""
