"""One image, or two, as one HTML file for a person: everything in it, nothing fetched.

`data.py` says what is in the page, as plain numbers and packed arrays; `assets/` is what a browser makes of it;
`html.py` puts both into one file.
"""
