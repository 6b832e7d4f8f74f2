"""Tests of the Python executor: `python tests/sdk/executor/run.py --inf1 ENV --neuronx ENV [-k PATTERN]`.

ENV is a folder as tests/sdk/make_environment.py makes it; it is not changed but for the file of faults. What needs
an environment that is not given is skipped, and says so.
"""

import argparse
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import settings  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description="Tests of the Python executor.")
    parser.add_argument("--inf1", metavar="ENV", help="an environment with the double of torch-neuron")
    parser.add_argument("--neuronx", metavar="ENV", help="an environment with the double of torch-neuronx")
    parser.add_argument("--placeholder", metavar="ENV", help="one with the torch-neuron of the public index")
    parser.add_argument("-k", metavar="PATTERN", action="append", help="only tests whose name contains it")
    options = parser.parse_args()
    settings.use(inf1=options.inf1, neuronx=options.neuronx, placeholder=options.placeholder)
    loader = unittest.TestLoader()
    if options.k:
        loader.testNamePatterns = ["*{}*".format(pattern) for pattern in options.k]
    suite = loader.discover(str(pathlib.Path(__file__).resolve().parent), pattern="test_*.py")
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    for test, reason in result.skipped:
        print("skipped: {}: {}".format(test, reason))
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main())
