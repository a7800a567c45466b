"""Compiled loops. Each module is a template: `numerics.specialise` puts a parametrization's formulas in place of its
placeholder functions and compiles the result. Imported as it stands, a template runs with those placeholders.
"""
