from . import maintenance

__all__ = ["maintenance"]
