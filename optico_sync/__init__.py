"""Keeps a Django shop's orders in step with the vendors its owner pays for."""
