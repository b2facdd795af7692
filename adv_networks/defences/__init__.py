"""The defences: how a classifier is trained, one minibatch at a time."""
