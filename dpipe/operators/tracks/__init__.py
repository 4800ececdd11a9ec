"""Operators over tracks and phases of events."""
