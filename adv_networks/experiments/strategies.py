"""The devices that work can be shared among, by name; `runtime.devices` makes them."""

STRATEGIES: dict[str, str] = {
    "auto": "mirrored if there are several GPUs, else one",
    "one": "one device",
    "mirrored": "all visible GPUs share each minibatch",
    "multi_worker": "so do those of several processes, each started with the same command and its own TF_CONFIG",
}
