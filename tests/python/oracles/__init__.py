"""Independent oracles: what the tests compare cvdecode with.

Nothing here reads cvdecode's own code: references come from the unpatched system libavcodec, and
predictions are written from the standard (tests/cpp). Parsing results enter as plain arrays.
"""
