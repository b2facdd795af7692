"""The names of the strategies that share work among devices; `runtime.devices` makes them."""

STRATEGIES: dict[str, str] = {
    "auto": "mirrored if there are several GPUs, else one",
    "one": "one device",
    "mirrored": "all visible GPUs share each minibatch",
    "multi_worker": "all GPUs of several processes do; start each process with the same command and its own TF_CONFIG",
}
