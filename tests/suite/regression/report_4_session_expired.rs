//! openclaw-weixin#155: -14 was answered by a pause of an hour, in which nothing was sent either, and by another after it.
//! Here it is healed within seconds, is never in the way of sending, and makes no storm when it cannot be healed.

use std::time::Duration;

use moorline_core::{AccountState, BlockReason, ChatId, Timestamp};
use moorline_runtime::{AddJob, JobKind, MissedPolicy};
use moorline_simulator::weixin::{Answer, Endpoint, Expiry, Fault, NewBot, Times};
use moorline_tests::in_virtual_time;
use moorline_tests::weixin::WeixinWorld;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const ALICE: &str = "alice@im.wechat";

/// How long after this moment a message is answered.
async fn answered(world: &WeixinWorld, text: &str, limit: Duration) -> Duration {
    world.say(0, ALICE, text);
    world.until("answered", limit, |world| world.copies(ALICE, text) == 1).await
}

#[test]
fn a_stale_token_is_healed_within_5_s_openclaw_weixin_155() {
    for expiry in [Expiry::until_notifystart(), Expiry::until_notifystart().in_ret()] {
        in_virtual_time(async {
            let world = WeixinWorld::ready("0s").await;
            answered(&world, "before", SECOND).await;
            world.simulator.expire(&world.bots[0].bot_id, expiry).unwrap();
            let healed = answered(&world, "after", 5 * SECOND).await;
            println!("answered {healed:?} after the token went stale");
            assert_eq!(world.simulator.counters(&world.bots[0].bot_id).unwrap().notifystarts, 2);
            world.check().await;
        });
    }
}

#[test]
fn a_greeting_that_fails_twice_costs_less_than_10_s_openclaw_weixin_155() {
    in_virtual_time(async {
        let world = WeixinWorld::ready("0s").await;
        let bot = &world.bots[0].bot_id;
        world
            .simulator
            .set_fault(bot, Fault::Answer(Endpoint::NotifyStart, Answer::code(-1)), Times::Count(2))
            .unwrap();
        world.simulator.expire(bot, Expiry::until_notifystart()).unwrap();
        let healed = answered(&world, "after", 10 * SECOND).await;
        println!("answered {healed:?} after the token went stale");
        world.check().await;
    });
}

/// A message of the scheduler, every minute from the next full one on.
async fn every_minute(world: &WeixinWorld, body: &str) {
    let job = AddJob {
        name: None,
        account: world.id(0),
        to: ChatId::new(ALICE),
        schedule: "* * * * *".to_owned(),
        zone: "UTC".to_owned(),
        kind: JobKind::Text,
        body: body.to_owned(),
        missed: MissedPolicy::Once,
        max_delay: 12 * 60 * MINUTE,
        key: None,
    };
    world.handle.add_job(job).await.unwrap();
}

/// As in the report: the login lapses when nobody writes for hours, and then a job has something to say. It says it at
/// once, whether the login was healed meanwhile or can never be.
#[test]
fn a_cron_send_is_delivered_at_once_while_polls_are_refused_and_after_a_night_of_that_f011() {
    for (expiry, night, healed) in [
        (Expiry::revoked(), 2 * SECOND, false),
        (Expiry::revoked(), 10 * 60 * MINUTE, false),
        (Expiry::until_notifystart(), 10 * 60 * MINUTE, true),
    ] {
        in_virtual_time(async {
            let world = WeixinWorld::ready("0s").await;
            answered(&world, "good night", SECOND).await;
            world.simulator.expire(&world.bots[0].bot_id, expiry).unwrap();
            tokio::time::sleep(night).await;
            assert_eq!(world.status(0).state == AccountState::Ready, healed);
            every_minute(&world, "good morning").await;
            let due = MINUTE + 2 * SECOND;
            world.until("delivered", due, |world| world.copies(ALICE, "good morning") == 1).await;
            let at = world.simulator.read_ledger(|ledger| {
                ledger.visible().find(|visible| visible.text == "good morning").unwrap().at
            });
            let late = at.as_millis() % 60_000;
            assert!(late < 1_500, "delivered {late} ms after it was due");
            assert_eq!(world.status(0).state == AccountState::Ready, healed);
            world.check().await;
        });
    }
}

/// F-060: a reply that is ready while the poll is refused goes out.
#[test]
fn sending_does_not_depend_on_receiving_f060() {
    in_virtual_time(async {
        let world = WeixinWorld::ready("20s").await;
        world.say(0, ALICE, "think about it");
        tokio::time::sleep(SECOND).await;
        world.simulator.expire(&world.bots[0].bot_id, Expiry::revoked()).unwrap();
        tokio::time::sleep(SECOND).await;
        assert_ne!(world.status(0).state, AccountState::Ready);
        world.until("answered", 25 * SECOND, |world| world.copies(ALICE, "think about it") == 1).await;
        assert_ne!(world.status(0).state, AccountState::Ready);
        // And when it is given up for the time being, too.
        world.until("blocked", 10 * MINUTE, |world| world.status(0).state == AccountState::Blocked).await;
        world.check().await;
    });
}

#[test]
fn a_revoked_login_makes_no_storm_is_shown_and_replaced_openclaw_weixin_155() {
    in_virtual_time(async {
        let mut world = WeixinWorld::ready("0s").await;
        world.simulator.expire(&world.bots[0].bot_id, Expiry::revoked()).unwrap();
        let blocked = world
            .until("shown", 10 * MINUTE, |world| world.status(0).blocked == Some(BlockReason::NeedsLogin))
            .await;
        assert!(blocked >= 2 * MINUTE, "{blocked:?}: five rounds and two minutes, whichever is later");
        tokio::time::sleep(60 * MINUTE).await;
        assert_eq!(world.status(0).state, AccountState::Blocked);
        let most = world.simulator.read_ledger(|ledger| {
            let at: Vec<Timestamp> = ledger.calls().map(|call| call.at).collect();
            at.iter()
                .map(|end| at.iter().filter(|at| *at <= end && end.since(**at) < MINUTE).count())
                .max()
                .unwrap()
        });
        println!("{most} calls in the busiest minute, blocked after {blocked:?}");
        assert!(most <= 20, "{most} calls in a minute");

        // It was revoked by a login elsewhere. The person logs in here again: another bot, taken up at once.
        world.simulator.add_bot(NewBot::of(&world.bots[0].user_id));
        world.log_in(0).await;
        world.until("ready", 5 * SECOND, |world| world.status(0).state == AccountState::Ready).await;
        answered(&world, "with the new login", 5 * SECOND).await;
        world.check().await;
    });
}

/// Protocol §4.4: it heals by itself, and the delays are those of any outage.
#[test]
fn a_series_that_ends_by_itself_ends_in_time() {
    in_virtual_time(async {
        let world = WeixinWorld::ready("0s").await;
        world.simulator.expire(&world.bots[0].bot_id, Expiry::after_failures(5)).unwrap();
        answered(&world, "after", MINUTE).await;
        assert_eq!(world.status(0).state, AccountState::Ready);
        world.check().await;
    });
}

/// Protocol §4.5: no code at all.
#[test]
fn a_silent_lapse_is_greeted_within_seconds() {
    in_virtual_time(async {
        let world = WeixinWorld::ready("0s").await;
        world.simulator.expire(&world.bots[0].bot_id, Expiry::silent()).unwrap();
        let healed = answered(&world, "after", 10 * SECOND).await;
        println!("answered {healed:?} after the silent lapse");
        world.check().await;
    });
}
