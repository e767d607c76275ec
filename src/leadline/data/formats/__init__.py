"""Readers and writers of single files, one format per module.

Readers return arrays with a validity mask where the format has one and raise UserError (one line: the file, what is
wrong, what to do) for a truncated, mislabelled or over-long file. Writers write whole files or nothing.
"""
