"""Operators on annotated pictures: outlines drawn, objects measured and counted."""
