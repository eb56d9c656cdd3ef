"""DRM, PCI and KFD sysfs in; one immutable Inventory out."""

from amdgpu_plugin.discovery.scan import Scanner, discover

__all__ = ["Scanner", "discover"]
