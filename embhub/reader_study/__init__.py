"""Blinded reader studies on a site's own machine: can readers separate generated images from real ones?"""
