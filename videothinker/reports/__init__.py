"""Reports for people, on a curation, a diagnosis, a study and the demo: self-contained HTML files, Markdown and figures.

Nothing here writes a file: the functions return bytes by file name, and `store.py` puts them in place.
"""
