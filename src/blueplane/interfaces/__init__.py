"""What people and other programs talk to: the command line, MCP and the dashboard.

Owns nothing itself. Promises that no module outside imports from here.
Leaves every answer to the layers below.
"""
