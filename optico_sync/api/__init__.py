"""A door for machines: where orders stand, the operator's verbs, whose order it is, and whether all is well.

Include ``optico_sync.api.urls``; see docs/api.md.
"""
