"""Exports of trained models, and where they are sent."""
