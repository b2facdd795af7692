"""How TensorFlow runs: devices, threads, replicas, and faster forms of layers, graphs and optimisers."""
