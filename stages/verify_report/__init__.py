"""The format of `reports/verify.json`: its parts as models, and the one reader of such files."""
