"""The record of all requests: the forget list, its log, and what git's history has of them."""
