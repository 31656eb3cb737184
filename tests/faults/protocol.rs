//! A protocol whose messages have no type. Row R13; invariant I4.

use super::harness::{Bench, Seen};
use corelane::envelope::{Fields, Forward, Protocol};
use corelane::router::{Action, ProtocolRules};

/// `untyped`. R13, R11: `unknown_types` applies to each of its messages.
#[test]
fn messages_without_a_type_are_relayed_as_unknown_ones() {
    let fields = Fields { recipient: Some("to"), ..Fields::default() };
    let protocol = Protocol::new("untyped", &fields, Forward::All).unwrap();
    let rules = ProtocolRules::new(protocol).unknown_types(Action::Relay { hold: false });
    let mut bench = Bench::built(&[("workers", "1")], |builder| builder.protocol(rules));
    let mut port = bench.port();
    let ann = port.connect("ann", "untyped", "", 1).unwrap();
    port.connect("bob", "untyped", "", 2).unwrap();
    port.submit(ann, br#"{"to":"bob"}"#, 7).unwrap();
    assert_eq!(bench.turn(&mut port), [Seen::Message(2, 7)]);
    port.submit(ann, br#"{"to":"nobody"}"#, 8).unwrap();
    assert_eq!(bench.turn(&mut port), []);
    assert_eq!((bench.failed("unknown_recipient"), bench.router.accounting().ok), (1, 1));
    bench.assert_quiet(2, 1);
}
