"""Gemma 4 itself: sound to mel, mel to soft tokens, tokens to a cache, a cache to logits; and how a checkpoint becomes a bundle.

Reading order: config, mel, graph, encoder, decoder, cache, tables, tokens, bundle, export.
"""
