"""How compression changes recognition: transcoding grids, measures, models over a grid.

Needs NumPy and the reader; ffmpeg for transcoding. Pillow, torch and torchmetrics are imported only
by the functions that say so (``pip install 'cvdecode[study]'``).
"""
