"""Annotated pictures as files: what a collection holds, and the formats that take it."""
