"""Codecs of foreign formats: bytes and texts in, rows and numbers out, and back.

Each file knows one format and no Dataset; readers, writers and the demo use it by its own name.
"""
