"""Pages that people read: curation report and diagnosis report, each one self-contained HTML file, Markdown and figures.

Nothing here writes a file: the functions return bytes by file name, and `store.py` puts them in place.
"""
