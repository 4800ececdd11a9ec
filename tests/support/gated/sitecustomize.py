"""Python runs this at its start where the folder is on its path: a ``Gate`` puts it there."""

import gate

gate.install()
