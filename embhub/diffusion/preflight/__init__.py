"""Arguments of long commands, checked in a fraction of a second: nothing here imports torch or opens an image.

What runs afterwards checks everything again, and more; the messages are the same, because the functions are.
"""
