"""VLAN ingress: which VLAN a frame belongs to, and with which tag it leaves (IEEE 802.1Q 6.9, 802.1ad)."""
from frames import A, B, BROADCAST, C, DOT1AD, DOT1Q, S10, T10, T20, T30, U10, U30, D, eth, pcp, tagged
from harness import Drop, Flood, Forward, Row, check, flooded

DATA = bytes(range(100))
TYPE = 0x88B5  # local experimental: nothing looks into it


def l2(src, dst):
    return eth(getattr(src, "mac", src), getattr(dst, "mac", dst), TYPE, DATA)


SRC40, DST40, SRC50 = "02:40:00:00:00:01", "02:40:00:00:00:02", "02:50:00:00:00:01"
AB, AT, TA = l2(A, B), l2(A, T10), l2(T10, A)
CUSTOMER = tagged(l2(SRC40, DST40), 7)

# A kernel that receives a frame with half a tag, or with nothing behind one, drops it before tc.
TEST_RUNS = ("xdp", "tc")
CUT = [
    ("behind the TPID", b""),
    ("inside the TCI", b"\0"),
    ("behind the TCI", b"\0\x0a"),
    ("inside the tag's ethertype", b"\0\x0a\x08"),
]

ROWS = [
    Row("access untagged", "acc10", AB, Forward("acc10b", AB)),
    Row("access tagged with its own VLAN", "acc10", tagged(AB, 10), Drop("vlan_tagged_on_access")),
    Row("access tagged with another VLAN", "acc10", tagged(AB, 20), Drop("vlan_tagged_on_access")),
    Row("access tagged with VID 4095", "acc10", tagged(AB, 4095), Drop("vlan_tagged_on_access")),
    Row("access priority tag is taken off", "acc10", tagged(AB, 0), Forward("acc10b", AB)),
    Row("access priority tag with PCP is taken off", "acc10", tagged(AB, pcp(0, 5)), Forward("acc10b", AB)),
    Row("access priority tag keeps PCP towards a trunk", "acc10", tagged(AT, pcp(0, 5)), Forward("trk", tagged(AT, pcp(10, 5)))),
    Row(
        "access priority tag keeps DEI towards a trunk",
        "acc10",
        tagged(AT, pcp(0, 1, 1)),
        Forward("trk", tagged(AT, pcp(10, 1, 1))),
    ),
    Row("access priority tag and a tag beneath", "acc10", tagged(AB, 0, 33), Forward("acc10b", tagged(AB, 33))),
    Row(
        "access priority tag to 802.1ad trunk",
        "acc10",
        tagged(l2(A, S10), pcp(0, 3)),
        Forward("sp", tagged(l2(A, S10), (pcp(10, 3), DOT1AD))),
    ),
    Row("access 802.1ad tag is payload", "acc10", tagged(AB, (10, DOT1AD)), Forward("acc10b", tagged(AB, (10, DOT1AD)))),
    Row(
        "access 802.1ad tag is payload under a trunk's tag",
        "acc10",
        tagged(AT, (20, DOT1AD)),
        Forward("trk", tagged(AT, 10, (20, DOT1AD))),
    ),
    Row("trunk tagged and allowed", "trk", tagged(TA, 10), Forward("acc10", TA)),
    Row("trunk PCP does not leave with an untagged frame", "trk", tagged(TA, pcp(10, 7)), Forward("acc10", TA)),
    Row("trunk VLAN not carried", "trk", tagged(TA, 50), Drop("vlan_not_allowed")),
    Row("trunk VLAN nobody has", "trk", tagged(TA, 999), Drop("vlan_not_allowed")),
    Row("trunk VID 4095", "trk", tagged(TA, 4095), Drop("vlan_not_allowed")),
    Row("trunk VID 4094", "trk", tagged(TA, 4094), Drop("vlan_not_allowed")),
    Row("trunk VID 1", "trk", tagged(TA, 1), Drop("vlan_not_allowed")),
    Row("trunk untagged is of the native VLAN", "trk", l2(T30, U30), Forward("trk2", tagged(l2(T30, U30), 30))),
    Row("trunk tagged with the native VLAN", "trk", tagged(l2(T30, U30), 30), Forward("trk2", tagged(l2(T30, U30), 30))),
    Row(
        "trunk priority tag is of the native VLAN",
        "trk",
        tagged(l2(T30, U30), pcp(0, 6)),
        Forward("trk2", tagged(l2(T30, U30), pcp(30, 6))),
    ),
    Row("native VLAN leaves untagged", "trk2", tagged(l2(U30, T30), 30), Forward("trk", l2(U30, T30))),
    Row("native VLAN leaves untagged, its PCP is lost", "trk2", tagged(l2(U30, T30), pcp(30, 5)), Forward("trk", l2(U30, T30))),
    Row("trunk untagged without native VLAN", "trk2", l2(U10, A), Drop("vlan_no_native")),
    Row("trunk priority tag without native VLAN", "trk2", tagged(l2(U10, A), pcp(0, 5)), Drop("vlan_no_native")),
    Row(
        "trunk 802.1ad tag is payload: native VLAN",
        "trk",
        tagged(l2(T30, U30), (10, DOT1AD)),
        Forward("trk2", tagged(l2(T30, U30), 30, (10, DOT1AD))),
    ),
    Row("trunk 802.1ad tag is payload: no native VLAN", "trk2", tagged(l2(U10, A), (10, DOT1AD)), Drop("vlan_no_native")),
    Row("trunk without XDP tagged", "trkt", tagged(l2("02:10:00:00:00:77", A), 10), Forward("acc10", l2("02:10:00:00:00:77", A))),
    Row(
        "trunk without XDP untagged",
        "trkt",
        l2(SRC50, BROADCAST),
        Flood({"acc50": l2(SRC50, BROADCAST), "trk2": tagged(l2(SRC50, BROADCAST), 50)}),
    ),
    Row("access to trunk", "acc10", AT, Forward("trk", tagged(AT, 10))),
    Row("trunk to trunk keeps VLAN", "trk", tagged(l2(T10, U10), 10), Forward("trk2", tagged(l2(T10, U10), 10))),
    Row(
        "trunk to trunk keeps PCP and DEI",
        "trk",
        tagged(l2(T10, U10), pcp(10, 6, 1)),
        Forward("trk2", tagged(l2(T10, U10), pcp(10, 6, 1))),
    ),
    Row(
        "trunk to trunk keeps the inner tag", "trk", tagged(l2(T10, U10), 10, 345), Forward("trk2", tagged(l2(T10, U10), 10, 345))
    ),
    Row("trunk to access keeps the inner tag", "trk", tagged(TA, 10, pcp(345, 2)), Forward("acc10", tagged(TA, pcp(345, 2)))),
    Row("trunk to access keeps two inner tags", "trk", tagged(TA, 10, 20, 30), Forward("acc10", tagged(TA, 20, 30))),
    Row(
        "trunk to trunk with three tags",
        "trk",
        tagged(l2(T10, U10), 10, 20, 30),
        Forward("trk2", tagged(l2(T10, U10), 10, 20, 30)),
    ),
    Row(
        "trunk to access with an 802.1ad tag beneath",
        "trk",
        tagged(TA, 10, (20, DOT1AD)),
        Forward("acc10", tagged(TA, (20, DOT1AD))),
    ),
    Row("inner tag with the VID of a VLAN does not matter", "trk", tagged(TA, 10, 20), Forward("acc10", tagged(TA, 20))),
    Row("802.1Q trunk to 802.1ad trunk", "trk", tagged(l2(T10, S10), 10), Forward("sp", tagged(l2(T10, S10), (10, DOT1AD)))),
    Row(
        "802.1ad trunk to 802.1Q trunk keeps PCP",
        "sp",
        tagged(l2(S10, T10), (pcp(10, 4), DOT1AD)),
        Forward("trk", tagged(l2(S10, T10), pcp(10, 4))),
    ),
    Row("802.1ad trunk to access", "sp", tagged(l2(S10, A), (10, DOT1AD)), Forward("acc10", l2(S10, A))),
    Row("access to 802.1ad trunk", "acc10", l2(A, S10), Forward("sp", tagged(l2(A, S10), (10, DOT1AD)))),
    Row("802.1ad trunk takes no 802.1Q tag for its own", "sp", tagged(l2(S10, A), 10), Drop("vlan_no_native")),
    Row("802.1ad trunk VLAN not carried", "sp", tagged(l2(S10, A), (20, DOT1AD)), Drop("vlan_not_allowed")),
    Row(
        "Q-in-Q: customer's tag goes under the provider's",
        "cust",
        CUSTOMER,
        Forward("sp", tagged(l2(SRC40, DST40), (40, DOT1AD), 7)),
        before=[("sp", tagged(l2(DST40, SRC40), (40, DOT1AD)))],
    ),
    Row(
        "Q-in-Q: customer's PCP stays in the customer's tag",
        "cust",
        tagged(l2(SRC40, DST40), pcp(7, 5)),
        Forward("sp", tagged(l2(SRC40, DST40), (40, DOT1AD), pcp(7, 5))),
        before=[("sp", tagged(l2(DST40, SRC40), (40, DOT1AD)))],
    ),
    Row(
        "Q-in-Q: back to the customer",
        "sp",
        tagged(l2(DST40, SRC40), (40, DOT1AD), 7),
        Forward("cust", tagged(l2(DST40, SRC40), 7)),
        before=[("cust", l2(SRC40, DST40))],
    ),
    Row(
        "Q-in-Q: two customer tags",
        "cust",
        tagged(l2(SRC40, DST40), 7, 8),
        Forward("sp", tagged(l2(SRC40, DST40), (40, DOT1AD), 7, 8)),
        before=[("sp", tagged(l2(DST40, SRC40), (40, DOT1AD)))],
    ),
    Row("802.1ad access port with an 802.1ad tag", "cust", tagged(CUSTOMER, (40, DOT1AD)), Drop("vlan_tagged_on_access")),
    Row(
        "802.1ad access port with an 802.1ad priority tag",
        "cust",
        tagged(l2(SRC40, DST40), (pcp(0, 3), DOT1AD)),
        Forward("sp", tagged(l2(SRC40, DST40), (pcp(40, 3), DOT1AD))),
        before=[("sp", tagged(l2(DST40, SRC40), (40, DOT1AD)))],
    ),
    Row("Q-in-Q: flood to ports of each kind", "cust", CUSTOMER, Flood(flooded(40, CUSTOMER, "cust"))),
    Row("802.1Q access port in the same VLAN refuses the customer's tag", "custq", CUSTOMER, Drop("vlan_tagged_on_access")),
    Row("flood from access wears each port's tag", "acc10", l2(A, BROADCAST), Flood(flooded(10, l2(A, BROADCAST), "acc10"))),
    Row("flood from trunk", "trk", tagged(l2(T10, BROADCAST), 10), Flood(flooded(10, l2(T10, BROADCAST), "trk"))),
    Row(
        "flood from trunk keeps PCP",
        "trk",
        tagged(l2(T10, BROADCAST), pcp(10, 5)),
        Flood(flooded(10, l2(T10, BROADCAST), "trk", 5 << 13)),
    ),
    Row(
        "flood from trunk keeps the inner tag",
        "trk",
        tagged(l2(T10, BROADCAST), 10, 99),
        Flood(flooded(10, tagged(l2(T10, BROADCAST), 99), "trk")),
    ),
    Row("flood from 802.1ad trunk", "sp", tagged(l2(S10, BROADCAST), (10, DOT1AD)), Flood(flooded(10, l2(S10, BROADCAST), "sp"))),
    Row("flood of the native VLAN", "trk", l2(T30, BROADCAST), Flood(flooded(30, l2(T30, BROADCAST), "trk"))),
    Row(
        "flood of a payload tag from access",
        "acc10",
        tagged(l2(A, BROADCAST), (5, DOT1AD)),
        Flood(flooded(10, tagged(l2(A, BROADCAST), (5, DOT1AD)), "acc10")),
    ),
    Row("flood from a port without XDP", "acc10t", l2(C, BROADCAST), Flood(flooded(10, l2(C, BROADCAST), "acc10t"))),
    Row("to a port without XDP", "acc10", l2(A, C), Forward("acc10t", l2(A, C))),
    Row("from a port without XDP", "acc10t", l2(C, A), Forward("acc10", l2(C, A))),
    Row("to a port without XDP, from a trunk", "trk", tagged(l2(T10, C), 10), Forward("acc10t", l2(T10, C))),
    Row("VLANs are apart: a station of another VLAN is unknown", "acc10", l2(A, D), Flood(flooded(10, l2(A, D), "acc10"))),
    Row("a station may be in two VLANs", "acc20", l2(D, T20), Forward("trk", tagged(l2(D, T20), 20))),
    Row(
        "shortest tagged frame on trunk",
        "trk",
        tagged(eth(T10.mac, A.mac, TYPE), 10),
        Forward("acc10", eth(T10.mac, A.mac, TYPE)),
    ),
    Row(
        "shortest untagged frame to trunk",
        "acc10",
        eth(A.mac, T10.mac, TYPE),
        Forward("trk", tagged(eth(A.mac, T10.mac, TYPE), 10)),
        only=TEST_RUNS,
    ),
    *[
        Row(f"frame ends {where}", "trk", eth(T10.mac, A.mac, DOT1Q, rest), Drop("parse_vlan_short"), only=TEST_RUNS)
        for where, rest in CUT
    ],
    *[
        Row(f"frame ends {where}, on an access port", "acc10", eth(A.mac, B.mac, DOT1Q, rest), Drop("parse_vlan_short"))
        for where, rest in CUT
    ],
    Row(
        "frame ends inside an 802.1ad tag", "sp", eth(S10.mac, A.mac, DOT1AD, b"\0\x0a"), Drop("parse_vlan_short"), only=TEST_RUNS
    ),
    Row("routed port tagged", "wan", tagged(l2("02:ee:00:00:00:f1", "02:ee:00:00:00:01"), 10), Drop("vlan_tagged_on_routed")),
    Row(
        "routed port with an 802.1ad tag",
        "wan",
        tagged(l2("02:ee:00:00:00:f1", "02:ee:00:00:00:01"), (10, DOT1AD)),
        Drop("vlan_tagged_on_routed"),
    ),
]


def test_row(switch, row, hook):
    check(switch, row, hook)
