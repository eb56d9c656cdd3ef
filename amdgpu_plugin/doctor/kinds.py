"""Every finding there can be: one table for the code, its documentation and its tests.

Names are stable: scripts look for them. Problems keep pods from GPUs, or soon will; remarks are worth
knowing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Severity = Literal["problem", "remark"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One row. `what` is the matter, `evidence` where it is seen, `advice` what to do: all for people."""

    name: str
    severity: Severity
    what: str
    evidence: str
    advice: str


# fmt: off
TABLE = (
    Kind("driver-absent", "problem",
         "AMD GPUs are on the PCI bus, and the amdgpu module is not loaded.",
         "`/sys/bus/pci/devices`, `/sys/module/amdgpu`",
         "`modprobe amdgpu`, then `dmesg | grep amdgpu`. If there is no such module, install the driver for "
         "this kernel (its own modules package, or amdgpu-dkms)."),
    Kind("driver-blacklisted", "problem",
         "The amdgpu module is kept from loading.",
         "`/proc/cmdline`, `modprobe.d` folders (those of the host are seen on the host only)",
         "Take the words out, rebuild the initramfs if it holds them, and reboot. Leave them where AMD's GPU "
         "operator loads a driver of its own: then see why it did not."),
    Kind("driver-too-old", "problem",
         "The amdgpu of this kernel does not know the GPU.",
         "the GPU's `modalias` against `/lib/modules/<kernel>/modules.alias` (on the host only)",
         "Boot a newer kernel, or install a newer amdgpu-dkms."),
    Kind("gpu-unbound", "problem",
         "The amdgpu module is loaded, and a GPU has no driver.",
         "the GPU's `driver` link in `/sys/bus/pci/devices`",
         "`dmesg | grep amdgpu` tells why its probe failed: often a driver older than the GPU, missing "
         "firmware, or a GPU that hangs. If somebody unbound it, "
         "`echo ADDRESS > /sys/bus/pci/drivers/amdgpu/bind`."),
    Kind("gpus-missing", "problem",
         "There are fewer GPUs than `devices.expect` says.",
         "the GPUs bound to amdgpu",
         "Look for the missing ones with `lspci -d 1002:` and in `dmesg`; reseat or replace, or correct "
         "`devices.expect`."),
    Kind("gpu-skipped", "problem",
         "A GPU is bound to amdgpu, and nothing of it is served.",
         "the scan's `skipped` lines",
         "See the reason. No answer: a read hangs in the driver, see `dmesg`, reboot. Partitions that cannot "
         "be proven without KFD: let the plugin read KFD (`kfdAccess: privileged` in the chart)."),
    Kind("unhealthy", "problem",
         "The kubelet is told that devices are Unhealthy.",
         "the daemon's verdicts; the condition's name comes first",
         "What [health.md](health.md) says for the condition."),
    Kind("guard-active", "problem",
         "All GPUs went silent at once: this is taken for our trouble, and only informs.",
         "the daemon's `health.guard_active`",
         "See whether the plugin's pod still has its `/sys` and CPU time; restart it. If the GPUs are really "
         "hung, reboot the node."),
    Kind("kfd-absent", "problem",
         "GPUs are bound, and there is no KFD: containers get no `/dev/kfd`, and ROCm finds no GPU.",
         "`/sys/class/kfd/kfd/topology`",
         "Boot a kernel built with `CONFIG_HSA_AMD`; see `dmesg | grep kfd`."),
    Kind("device-node-missing", "problem",
         "Nodes in `/dev` that pods need are missing.",
         "`--dev-root`, or `/dev` where it has `dri`",
         "See whether udev runs on the host; `udevadm trigger --subsystem-match=drm --subsystem-match=kfd`."),
    Kind("device-permissions", "problem",
         "Only root can open device nodes: in other containers ROCm finds no GPU at all.",
         "owner and mode of `/dev/kfd` and `/dev/dri/renderD*`",
         "Give them a group (`render`) and mode 0660, or mode 0666, by a udev rule such as "
         '`KERNEL=="kfd", GROUP="render", MODE="0660"`.'),
    Kind("selinux-denial", "problem",
         "SELinux confines this process to a type that may not use the kubelet's sockets.",
         "`/proc/self/attr/current`, `/sys/fs/selinux/enforce`",
         "Run the plugin with `seLinuxOptions: {type: container_device_plugin_t}`; `ausearch -m avc -ts "
         "recent` on the node shows what was denied."),
    Kind("device-plugins-missing", "problem",
         "The kubelet's device-plugins directory is not there.",
         "`--device-plugins-dir`",
         "See whether the kubelet runs on this node and the directory is mounted. It is "
         "`/var/lib/kubelet/device-plugins`, whatever the kubelet's root directory is."),
    Kind("device-plugins-not-writable", "problem",
         "The device-plugins directory cannot be written to: no socket can be made there.",
         "`--device-plugins-dir`, tried with access(2)",
         "Mount it read-write and run the plugin as root."),
    Kind("kubelet-silent", "problem",
         "The kubelet does not answer at its socket.",
         "a connection to `kubelet.sock` in `--device-plugins-dir`",
         "`systemctl status kubelet` and its log. A socket that is there and dead is left by a kubelet that "
         "ended."),
    Kind("other-plugin", "problem",
         "Another plugin serves our resource here: ours waits for it to go.",
         "a connection to `amd.com_gpu` and its like; the daemon's registrations",
         "Keep one of the two: see [migrate.md](migrate.md)."),
    Kind("not-registered", "problem",
         "A resource is not registered with the kubelet.",
         "the daemon's registrations",
         "See the reason, and the kubelet's log for `device plugin`."),
    Kind("state-not-writable", "problem",
         "The state directory cannot be written to: a restart forgets baselines, acknowledgements and which "
         "IDs were listed, and `status` and `ack` have no socket.",
         "`--state-dir`, tried with access(2)",
         "Mount it read-write (a hostPath below `/run`)."),
    Kind("simulated", "remark",
         "The GPUs are simulated.",
         "`--simulate`, or the daemon's word",
         "Nothing, on a node for rehearsals. Else start the daemon without `--simulate`."),
    Kind("capture", "remark",
         "A capture was looked at: nothing is known of the machine around it.",
         "`--sysfs-root`",
         "Nothing. Run `doctor` on the node itself for the rest."),
    Kind("no-daemon", "remark",
         "No daemon answered: this is one look of our own, which tells nothing of health.",
         "`control.sock` in `--state-dir`",
         "Run it in the plugin's pod: `kubectl exec POD -- amdgpu-plugin doctor`. See whether the pod runs."),
    Kind("not-root", "remark",
         "This was not run as root: what only root may do was not judged.",
         "the process's user id",
         "Run it as root, or in the plugin's pod."),
    Kind("no-gpu", "remark",
         "There is no AMD GPU on the PCI bus.",
         "vendor and class of `/sys/bus/pci/devices/*`",
         "Nothing, on a node without GPUs. Else see `lspci -d 1002:`: a card that is not there has no power, "
         "is not seated, is disabled in the firmware, or is not passed through to this machine."),
    Kind("gpu-elsewhere", "remark",
         "An AMD GPU is on another driver than amdgpu, and is not served.",
         "the GPU's `driver` link in `/sys/bus/pci/devices`",
         "Nothing, where it is passed through (`vfio-pci`). Else bind it to amdgpu."),
    Kind("skipped", "remark",
         "Parts of the node were not used.",
         "the scan's `skipped` lines",
         "See the reasons; `amdgpu-plugin capture` makes a file for a bug report."),
    Kind("informs", "remark",
         "Something is the matter with GPUs, and the kubelet is not told.",
         "the daemon's conditions with effect `inform`; the condition's name comes first",
         "What [health.md](health.md) says for the condition."),
    Kind("observed-only", "remark",
         "Observe mode keeps verdicts from the kubelet: pods still get these devices.",
         "the daemon's `would_be` verdicts",
         "What [health.md](health.md) says for the condition; `--health-mode enforce` when you trust it."),
    Kind("ids-waiting", "remark",
         "IDs wait for containers to end, or to leave the list.",
         "the daemon's `Retired` and `HeldElsewhere`",
         "Wait, or delete the pods that hold them (`amdgpu-plugin status`). Where pod-resources do not "
         "answer, none leaves."),
    Kind("link-narrow", "remark",
         "A GPU's PCIe link has fewer lanes than both its ends can do.",
         "`current_link_width` and `max_link_width` of the GPU and the port above it",
         "Reseat the board, check riser and slot; see `lspci -vv`."),
    Kind("outside-hive", "remark",
         "GPUs are in no XGMI hive while others of their kind are.",
         "`xgmi_hive_info`",
         "Check the bridges or the board's links; jobs that span GPUs are slower there."),
    Kind("modes-mixed", "remark",
         "Partition modes differ under `--resource-naming single`: partitions go by names of their own.",
         "the GPUs' partition modes and resources",
         "Give all GPUs of the node one mode, or ask for the resources that are named "
         "(`--resource-naming mixed` names all of them so)."),
    Kind("kfd-denied", "remark",
         "KFD may not be read: link weights are not known, and partitions must be proven without it.",
         "`/sys/class/kfd/kfd/topology`",
         "Nothing, for whole GPUs. For partitions: `kfdAccess: privileged` in the chart."),
    Kind("non-root-pods", "remark",
         "Pods that do not run as root need the group of the device nodes.",
         "owner and mode of `/dev/kfd` and `/dev/dri/renderD*`",
         "Set `securityContext.supplementalGroups` to these numbers: names mean nothing inside a container."),
    Kind("pod-resources-silent", "remark",
         "The kubelet's pod-resources do not answer: who holds a device is not known.",
         "a connection to `kubelet.sock` in `--pod-resources-dir`; the daemon's word",
         "Mount the directory, which moves with the kubelet's root directory (k0s, MicroK8s)."),
    Kind("events-deaf", "remark",
         "Kernel events are not heard: GPUs are polled, and a fault is seen seconds later.",
         "the daemon's `events`; `/proc/self/uid_map`, since user namespaces hear none",
         "Run the plugin's pod without `hostUsers: false` and in an ordinary runtime."),
)
# fmt: on

KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in TABLE})
"""By name, in the order in which they are told."""
