"""Test code. A double of neuron-cc: strict about its command line, and no compiler."""
