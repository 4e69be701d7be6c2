"""What is done to an install, and not while events flow.

Owns installing and uninstalling, the program's own place, services, the server in the background,
and the canary that proves that the road is open.
Promises that a plan is made before anything is changed, and that the canary takes the road of every
other event.
Leaves that road to the layers below, and asking the user to the interfaces.
"""
