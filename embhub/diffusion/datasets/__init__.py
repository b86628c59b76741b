"""Labelled data sets of drawn images: what was asked for, from whom, made so that it can be interrupted, described."""
