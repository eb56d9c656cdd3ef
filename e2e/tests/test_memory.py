"""What the plugin knows of a GPU outlives its pod."""

from e2e.kubernetes import wait_until
from e2e.tests.installation import GPU, Installation
from e2e.tests.kubelet_log import KubeletLog
from e2e.tests.test_health import ill

DEVICE = "0000:27:00.0"


def test_wedged_gpu_is_held_back_over_a_rollout_and_a_deleted_pod_until_acknowledged(
    whole_gpus: Installation, kubelet_log: KubeletLog
) -> None:
    log = kubelet_log.from_now()
    whole_gpus.inject(DEVICE, "Wedged")
    wait_until("7 healthy", lambda: log.reached(GPU, 7), within_s=30)
    before = ill(whole_gpus)
    assert {device: reason["condition"] for device, reason in before.items()} == {DEVICE: "Wedged"}

    # The new simulated node knows nothing of it: nobody but the state directory does.
    for replace in (whole_gpus.restart, whole_gpus.replace_pod):
        old = whole_gpus.pod()
        replace()
        assert whole_gpus.pod() != old
        assert ill(whole_gpus) == before
    assert {count for _, count in log.healthy(GPU)} == {7, 0}

    whole_gpus.run("ack", DEVICE, "Wedged", "--reason", "e2e")
    wait_until("8 healthy", lambda: log.reached(GPU, 8), within_s=30)
    log = kubelet_log.from_now()
    whole_gpus.restart()
    assert {count for _, count in log.healthy(GPU)} == {8, 0}
    assert "Wedged (inform)" in whole_gpus.run("status")

    whole_gpus.inject(DEVICE, "unbind")
    whole_gpus.inject(DEVICE, "clear")
    wait_until("the end of it", lambda: "Wedged" not in whole_gpus.run("status"), within_s=30)
