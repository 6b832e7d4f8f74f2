"""Test code. A double of neuronx-cc: strict about its command line, and no compiler."""
