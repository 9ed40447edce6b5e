"""Exports of trained models, and their deliveries."""
