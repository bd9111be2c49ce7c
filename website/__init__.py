"""What builds the documentation site: a hook of MkDocs, and pages made from the code."""
