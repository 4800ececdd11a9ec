"""Code from outside: functions that are imported when they are used, and entries of others.

A shelf (readers, operators, writers) takes, besides its own names, ``package.module:NAME`` and the
entry points of installed packages, in the groups ``dpipe.readers``, ``dpipe.operators`` and
``dpipe.writers``. Their code counts: where it is edited, results are made again.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
