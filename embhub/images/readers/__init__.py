"""Readers of what hospitals keep pictures in: DICOM files and NIfTI volumes. Only pixels go on from here.

`view` says which picture of a file and how dark; `dicom_file`, `dicom_header`, `dicom_pixels` and `nifti_file` read,
with bounds that hold before anything large is decoded; `identifiers` knows what must not be in a header; `spreadsheet`
reads lists of such files in Excel's format.
"""
