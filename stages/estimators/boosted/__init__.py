"""Boosted trees of other libraries: XGBoost, LightGBM and CatBoost.

The libraries read model files without checking them. So a file is read here first, completely, and
the library gets what was read, written again: never the bytes of the file.
"""
