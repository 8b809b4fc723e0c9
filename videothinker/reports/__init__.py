"""Pages that people read (curation, diagnosis, study, demo), each one self-contained HTML file, with Markdown and figures.

Nothing here writes a file: the functions return bytes by file name, and `store.py` puts them in place.
"""
