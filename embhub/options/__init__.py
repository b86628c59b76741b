"""Options of training, auditing and fine-tuning: dataclasses that command line, library and tests share.

Each field states its help text, type and range once (`fields`). Start with `training`. Needs no torch.
"""
