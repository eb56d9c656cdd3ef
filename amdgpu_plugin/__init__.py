"""The Kubernetes device plugin for AMD GPUs: discovers them, tells the kubelet, keeps it true."""

__version__ = "0.1.0"
