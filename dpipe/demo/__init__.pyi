from .study import ensure_study, farewell, write_study

__all__ = ["ensure_study", "farewell", "write_study"]
