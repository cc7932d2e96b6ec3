"""If sluiced dies, packets keep flowing; when it comes back it takes over what is there."""
import os
import re
import signal
import socket
import time

import netlab
import talk


def test_ten_kills_under_load_lose_nothing(own_gateway):
    """kill -9 and restart, ten times, while ping and TCP pass through the NAT: 0 packets lost, the connection survives."""
    w = own_gateway
    w.inet.iperf3_server()
    w.h1.ping(netlab.INET4)
    ping = w.h2.spawn(f"ping -n -q -i 0.001 -W 2 {netlab.INET4}", stdout=-1, text=True)
    iperf = w.h1.spawn(f"iperf3 -J -c {netlab.INET4} -t 60 -b 200M", stdout=-1, text=True)
    time.sleep(0.5)
    for _ in range(10):
        w.gw.stop(signal.SIGKILL)
        time.sleep(0.1)
        w.gw.start()
    assert iperf.poll() is None, "the connection did not survive"
    # ping prints its statistics for SIGINT. The last echo may be under way: the statistics count it as sent.
    os.killpg(ping.pid, signal.SIGINT)
    out = ping.communicate(timeout=10)[0]
    sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", out).groups())
    print(f"ten kill -9: {sent - received} of {sent} echoes unanswered when ping was ended")
    os.killpg(iperf.pid, signal.SIGINT)
    report = netlab.json.loads(iperf.communicate(timeout=10)[0])
    assert sent > 2000 and sent - received <= 1, out
    idle = [i["sum"]["start"] for i in report["intervals"] if i["sum"]["seconds"] > 0.5 and i["sum"]["bytes"] == 0]
    assert len(report["intervals"]) >= 3 and not idle, f"no byte moved at {idle}"


def test_traffic_flows_while_no_sluiced_runs(own_gateway):
    w = own_gateway
    w.h1.ping(netlab.INET4)
    w.gw.stop(signal.SIGTERM)
    assert w.h1.ping(netlab.INET4, count=20) == (20, 20)
    assert w.h1.ping("10.0.20.13", count=20) == (20, 20)
    same, _ = talk.tcp_transfer(w.h1, w.inet, netlab.INET4, size=1 << 20)
    assert same


def test_connection_and_its_mapping_outlive_a_restart(own_gateway):
    w = own_gateway
    done = talk.tcp_server(w.inet, socket.AF_INET, 9000, talk.echo_words(2))
    with talk.tcp_connect(w.h1, netlab.INET4, 9000) as s:
        s.sendall(b"one.")
        assert s.recv(4) == b"one."
        port = str(s.getsockname()[1])
        before = [x for x in w.gw.cli("flow list").stdout.split() if port in x]
        w.gw.stop(signal.SIGKILL)
        w.gw.start()
        assert [x for x in w.gw.cli("flow list").stdout.split() if port in x] == before != []
        s.sendall(b"two.")
        assert s.recv(4) == b"two."
    done.join()


def test_changed_configuration_at_restart_takes_force(own_gateway):
    w = own_gateway
    text = open(netlab.GATEWAY_YAML).read()
    w.gw.stop(signal.SIGKILL)
    w.gw.config = w.write("other.yaml", text.replace("h2: {mode: access, vlan: 10}", "h2: {mode: access, vlan: 20}"))
    w.gw.start()
    w.gw.attached("h2")
    assert w.h1.ping("10.0.10.12", count=2)[1] == 0
    assert w.h1.ping("10.0.20.13") == (3, 3)


def test_destroy_leaves_nothing(own_gateway):
    w = own_gateway
    pins = f"/sys/fs/bpf/sluice/{w.gw.instance}"
    assert os.path.isdir(pins)
    assert w.gw.destroy().returncode == 0
    assert not os.path.exists(pins)
    assert not os.path.exists(f"/run/sluice/{w.gw.instance}")
    links = w.sw.links()
    assert not [x for x in links if x.startswith(("vlan", "sw-"))], links
    assert "tcx" not in w.sw.run("bpftool net show", check=False).stdout
    for name in ("h1", "up1"):
        assert "xdp" not in w.sw.run(f"ip link show dev {name}").stdout
    assert w.h1.ping("10.0.10.12", count=2)[1] == 0, "nothing forwards any more"


def test_second_sluiced_of_an_instance_is_refused(own_gateway):
    w = own_gateway
    p = w.sw.run([f"{netlab.BUILD}/sluiced", "-c", w.gw.config, "-i", w.gw.instance], check=False, timeout=20)
    assert p.returncode != 0 and str(w.gw.process.pid) in p.stdout, p.stdout
    assert w.h1.ping("10.0.20.13") == (3, 3)
