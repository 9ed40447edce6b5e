"""llama.cpp's capabilities on this machine."""
