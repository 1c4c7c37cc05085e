"""Runtimes: what keeps the contract of `edge_assistant.runtime`."""
