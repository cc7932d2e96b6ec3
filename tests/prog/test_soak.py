"""The FIB changes while packets read it: none is routed by a half-made change (`make soak` does the same for a minute)."""

import os
import subprocess

B = os.environ.get("B", "build")


def test_no_packet_is_misrouted_during_changes():
    done = subprocess.run(
        [f"{B}/bench/fib_soak", f"{B}/bench/fib_soak.bpf.o", "10"], capture_output=True, text=True, timeout=60
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith(" 0 misrouted")
