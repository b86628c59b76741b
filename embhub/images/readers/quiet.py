"""Parsers of headers tell in warnings and logs what they find there. Here they keep silent: it names people."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_TALKERS = ("pydicom", "pylibjpeg", "libjpeg", "openjpeg", "rle", "nibabel", "nibabel.global")


@contextmanager
def quiet() -> Iterator[None]:
    """While open, no warning is shown, and what loggers below these names say reaches no handler."""
    loggers = [logging.getLogger(name) for name in _TALKERS]
    before = [(logger.propagate, logger.handlers) for logger in loggers]
    try:
        for logger in loggers:
            logger.propagate, logger.handlers = False, [logging.NullHandler()]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, (propagate, handlers) in zip(loggers, before, strict=True):
            logger.propagate, logger.handlers = propagate, handlers
