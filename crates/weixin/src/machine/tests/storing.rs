//! What is in hand is not lost: not to a store that refuses, and not to a stop.

use super::*;

/// Protocol §4.2, F-028, F-040: the platform may have forgotten it when it answered.
#[test]
fn what_the_store_refuses_is_delivered_again_and_nothing_is_polled() {
    let mut rig = Rig::ready();
    assert_eq!(rig.reply("getupdates", news("c1", &[1, 2])), ["alive", "deliver 0 of 2 to c1"]);
    let mut waits = Vec::new();
    for ack in 0..6 {
        assert_eq!(rig.verdict(ack, false), [""; 0]);
        waits.push(rig.wake_in().unwrap());
        assert_eq!(rig.wake(), [format!("deliver {} of 2 to c1", ack + 1)]);
        assert!(rig.calls.is_empty());
    }
    assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
    assert_eq!(rig.verdict(6, true), ["getupdates"]);
    assert_eq!(rig.body("getupdates")["get_updates_buf"], "c1");
    rig.pass(SECOND);
    assert_eq!(rig.reply("getupdates", news("c2", &[3])), ["alive", "deliver 7 of 1 to c2"]);
    assert_eq!(rig.verdict(6, true), [""; 0], "of another one");
    assert_eq!(rig.verdict(7, true), ["getupdates"]);
}

/// A store that answers late may have stored it all the same.
#[test]
fn a_late_verdict_on_an_earlier_delivery_counts_if_it_is_a_good_one() {
    let mut rig = Rig::ready();
    rig.reply("getupdates", news("c1", &[1]));
    assert_eq!(rig.wake_in(), Some(10_000));
    assert_eq!(rig.wake(), ["deliver 1 of 1 to c1"], "no verdict at all");
    assert_eq!(rig.verdict(0, false), [""; 0]);
    assert_eq!(rig.wake_in(), Some(10_000));
    assert_eq!(rig.verdict(0, true), ["getupdates"]);
    assert_eq!(rig.verdict(1, true), [""; 0]);
}

/// Design §3 rule 8: while we do not read, silence is ours. Afterwards it is the platform's again, and the time before
/// is not counted against it.
#[test]
fn silence_is_not_judged_while_the_store_has_the_turn() {
    let mut rig = Rig::ready();
    let asked = rig.now;
    rig.pass(SECOND);
    rig.reply("getupdates", news("c1", &[1]));
    for ack in 0..60 {
        assert_eq!(rig.machine.in_hand(), Some(asked), "when it was asked for");
        rig.verdict(ack, false);
        rig.wake();
    }
    let held = 1 + 2 + 4 + 8 + 56 * 10;
    rig.verdict(60, true);
    assert_eq!(rig.machine.in_hand(), None);
    assert_eq!(rig.patience(), 91 + held);
    rig.pass(35 * SECOND);
    rig.reply("getupdates", idle("c1"));
    assert_eq!(rig.patience(), 91);
}

/// A probe meanwhile asks the platform; if it does not answer, what is in hand is worth more than to know that.
#[test]
fn a_probe_does_not_take_what_is_in_hand() {
    let mut rig = Rig::ready();
    rig.reply("getupdates", news("c1", &[1]));
    assert_eq!(rig.step(Event::Probe), ["notifystart"]);
    assert_eq!(rig.result("notifystart", Err(fake::lost(NetworkErrorKind::Connect))), [""; 0]);
    assert_eq!(rig.step(Event::Probe), ["notifystart"]);
    assert_eq!(rig.reply("notifystart", json!({})), ["alive"]);
    assert_eq!(rig.verdict(0, true), ["getupdates"]);
    assert_eq!(rig.wake_in(), None, "the poll is younger than the probe");
}

#[test]
fn a_stop_waits_for_what_is_on_its_way_to_the_store() {
    let mut rig = Rig::ready();
    rig.reply("getupdates", news("c1", &[1]));
    assert_eq!(rig.step(Event::Stop), ["notifystop"]);
    assert_eq!(rig.reply("notifystop", json!({})), [""; 0]);
    assert_eq!(rig.verdict(0, false), [""; 0]);
    assert_eq!(rig.wake_in(), Some(1_000));
    assert_eq!(rig.wake(), ["deliver 1 of 1 to c1"]);
    assert_eq!(rig.verdict(1, true), ["stopped"]);

    let mut rig = Rig::ready();
    rig.reply("getupdates", news("c1", &[1]));
    rig.verdict(0, false);
    assert_eq!(
        rig.step(Event::Stop),
        ["deliver 1 of 1 to c1", "notifystop"],
        "refused before: once more, at once"
    );
    assert_eq!(rig.verdict(1, true), [""; 0]);
    assert_eq!(rig.reply("notifystop", json!({})), ["stopped"]);
}
