"""From the program to text, and from text to a module."""
