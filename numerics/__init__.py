"""Label-noise SGD, its slow law and the jobs that compare them; arrays in, arrays out.

Importing this package imports nothing else: every submodule is loaded by whoever needs it.
"""

__version__ = "0.1.0"
