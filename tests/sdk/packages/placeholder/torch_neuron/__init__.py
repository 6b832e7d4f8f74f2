"""Test code. Stands for the placeholder of the same name in the public index of Python packages."""

raise ImportError(
    "WRONG PACKAGE. Please install the package from Neuron Repository - pip.repos.neuron.amazonaws.com"
)
