"""The machine: its device, memory and load, and whether the Hub can be reached."""
