"""Attacks of other libraries on our classifiers, and ours as theirs."""
