"""The report on a latent action model: plain numbers in, one self-contained HTML file out.

`evaluate.py` is the verb, `render.py` prepares the data of each section, `templates/` the words and layout.
"""
