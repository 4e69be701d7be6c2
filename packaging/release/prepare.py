"""What a frozen program does before its first line.

Owns undoing what PyInstaller did to the environment, and how often a start looks for garbage.
Promises that children get the environment that the user gave us.
Leaves the rest to the program; the server decides for itself about garbage.

PyInstaller points LD_LIBRARY_PATH at its own libraries, which the loader has read by now, and tells
a child of the same program to share its directory. Neither is for the programs that we start.
"""

import gc
import os

for name in [name for name in os.environ if name.startswith("_PYI_")]:
    del os.environ[name]
original = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
if original is None:
    os.environ.pop("LD_LIBRARY_PATH", None)
else:
    os.environ["LD_LIBRARY_PATH"] = original

# What is imported stays: to look through it again and again is a twentieth of a short command.
gc.set_threshold(100_000)
