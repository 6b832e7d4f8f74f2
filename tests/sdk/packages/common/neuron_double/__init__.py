"""Test code. What the doubles of torch-neuron and torch-neuronx share; the real SDK has nothing of this name."""
