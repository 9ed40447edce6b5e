"""The machine: its device, memory and load, and whether Hugging Face can be reached."""
