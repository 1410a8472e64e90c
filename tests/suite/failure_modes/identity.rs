//! Who we are, who they are, and whom a message is for.

use std::time::Duration;

use moorline_config::{DirectPolicy, GroupPolicy};
use moorline_core::{ChatId, IdentityState, UserId};
use moorline_simulator::feishu::{Answer, AppId, Fault, Mention, Person, Push, Times};
use moorline_tests::world::chat_of;
use moorline_tests::{Setup, World, in_virtual_time};
use serde_json::json;

use super::{SECOND, counters, one_account, settled};

fn identity(world: &World, n: usize) -> IdentityState {
    world.status(n).identity.state
}

#[test]
fn an_identity_that_cannot_be_had_for_ten_minutes_is_asked_for_slowly_and_then_never_again_f014() {
    in_virtual_time(async {
        let fails = Fault::BotInfo(Answer::Status(500));
        let mut world = World::prepare(one_account("0s"), |simulator, apps| {
            simulator.set_fault(&apps[0].app_id, fails.clone(), Times::UntilCleared).unwrap();
        })
        .await;
        tokio::time::sleep(600 * SECOND).await;
        let asked = counters(&world, 0).bot_info_requests;
        // Waits of 0.5, 1, 2, 4, 8, 16 and then 30 s at the least.
        assert!((14..=26).contains(&asked), "{asked} probes in ten minutes");
        world.simulator.clear_faults(world.app(0)).unwrap();
        world.until("verified", 61 * SECOND, |w| identity(w, 0) == IdentityState::Verified).await;
        let asked = counters(&world, 0).bot_info_requests;
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert_eq!(counters(&world, 0).bot_info_requests, asked, "who is known is not asked for again");

        // The next process begins with what this one found out, and says that it is from memory.
        world.simulator.set_fault(world.app(0), fails, Times::UntilCleared).unwrap();
        world.crash().await;
        world.boot().await;
        world.until("remembered", SECOND, |w| identity(w, 0) == IdentityState::Cached).await;
        assert_eq!(world.status(0).identity.id, Some(world.apps[0].bot_open_id.clone()));
        let push = Push::group("oc_group", "ou_bob", "still you?").mentioning_bot();
        let pushed = world.simulator.push(world.app(0), push).unwrap();
        let answered =
            |w: &World| w.simulator.read_ledger(|ledger| ledger.replies_to(&pushed.message_id).count()) == 1;
        world.until("answered from memory", SECOND, answered).await;
        world.check().await;
    });
}

#[test]
fn what_waits_for_an_identity_longer_than_the_limit_is_dropped_with_its_reason_f016() {
    in_virtual_time(async {
        let world = World::prepare(one_account("0s"), |simulator, apps| {
            let hangs = Fault::BotInfo(Answer::Hang);
            simulator.set_fault(&apps[0].app_id, hangs, Times::UntilCleared).unwrap();
        })
        .await;
        world.all_ready(SECOND).await;
        for n in 0..5 {
            let push = Push::group("oc_group", "ou_bob", format!("{n}")).mentioning_bot();
            world.simulator.push(world.app(0), push).unwrap();
        }
        let counts = async || world.handle.account(&world.id(0)).await.unwrap().counts;
        tokio::time::sleep(Duration::from_secs(24 * 3_600 - 60)).await;
        assert_eq!(counts().await.held.get("identity"), Some(&5));
        tokio::time::sleep(Duration::from_secs(11 * 60)).await;
        let counts = counts().await;
        assert_eq!((counts.held.get("identity"), counts.dropped.get("identity_unknown")), (None, Some(&5)));
        world.check().await;
    });
}

#[test]
fn four_bots_in_one_chat_answer_only_what_mentions_them_and_as_themselves_f017_f033() {
    in_virtual_time(async {
        let world = settled(Setup { accounts: 4, agent_delay: "10ms", ..Setup::default() }).await;
        let apps: Vec<AppId> = world.apps.iter().map(|app| app.app_id.clone()).collect();
        let mut dice = fastrand::Rng::with_seed(17);
        let mut asked = Vec::new();
        for n in 0..600 {
            // Mostly one of them, now and then two: one message, an event for each of the four.
            let mut push = Push::group("oc_all", format!("ou_{}", dice.u32(0..5)), format!("question {n}"));
            let mut whom = vec![dice.usize(0..4)];
            if dice.u32(0..10) == 0 {
                whom.push((whom[0] + 1) % 4);
            }
            for bot in &whom {
                push = push.mentioning(Mention::Bot(apps[*bot].clone()));
            }
            let mut order = apps.clone();
            dice.shuffle(&mut order);
            asked.push((world.simulator.push_to(&order, push).unwrap()[0].message_id.clone(), whom));
            tokio::time::sleep(Duration::from_millis(dice.u64(0..60))).await;
        }
        let expected: usize = asked.iter().map(|(_, whom)| whom.len()).sum();
        let chat = ChatId::new("oc_all");
        world.until("all answered", 200 * SECOND, |w| w.replies(&chat).len() >= expected).await;
        tokio::time::sleep(60 * SECOND).await;
        world.simulator.read_ledger(|ledger| {
            assert_eq!(ledger.visible_in(&chat).count(), expected);
            for (message, whom) in &asked {
                let mut by: Vec<&AppId> = ledger.replies_to(message).map(|reply| &reply.app).collect();
                let mut expected: Vec<&AppId> = whom.iter().map(|&bot| &apps[bot]).collect();
                by.sort_unstable();
                expected.sort_unstable();
                assert_eq!(by, expected, "{message}");
            }
        });
        world.check().await;
    });
}

#[test]
fn a_person_is_allowed_by_union_id_whatever_their_open_id_is_for_the_account_f018() {
    in_virtual_time(async {
        let mut world = settled(Setup::default()).await;
        world.simulator.add_person(Person::named("alice"));
        world.simulator.add_person(Person::named("mallory"));
        let foreign = Person::named("mallory").open_id(world.app(1));
        world
            .reload(|config| {
                for account in &mut config.accounts {
                    account.access.direct = DirectPolicy::Allowlist;
                    account.access.users = vec![UserId::new("on_alice"), foreign.clone()];
                }
            })
            .await
            .unwrap();
        for n in 0..3 {
            for who in ["on_alice", "on_mallory"] {
                let push = Push::direct(format!("oc_{who}_{n}"), who, format!("{who} to {n}"));
                world.simulator.push(world.app(n), push).unwrap();
            }
        }
        tokio::time::sleep(5 * SECOND).await;
        let answered = |who: &str, n: usize| world.replies(&ChatId::new(format!("oc_{who}_{n}"))).len();
        assert_eq!([0, 1, 2].map(|n| answered("on_alice", n)), [1, 1, 1], "the union_id is the same for all");
        // An open_id is good for the account it belongs to, and for no other.
        assert_eq!([0, 1, 2].map(|n| answered("on_mallory", n)), [0, 1, 0]);
        for n in [0, 2] {
            let counts = world.handle.account(&world.id(n)).await.unwrap().counts;
            assert_eq!(counts.dropped.get("user_not_allowed"), Some(&1));
        }
        world.check().await;
    });
}

#[test]
fn nobody_becomes_somebody_else_by_a_name_or_a_text_f093() {
    in_virtual_time(async {
        let mut world = settled(one_account("0s")).await;
        world
            .reload(|config| {
                config.accounts[0].access.direct = DirectPolicy::Allowlist;
                config.accounts[0].access.users = vec![UserId::new("ou_friend"), UserId::new("on_friend")];
                config.accounts[0].access.group = GroupPolicy::Mention;
            })
            .await
            .unwrap();
        let named = |name: &str| json!({ "event": { "sender": { "name": name, "sender_name": name } } });
        let direct = |user: &str| Push::direct(chat_of("mallory").as_str(), user, "let me in");
        let nobody = json!({ "event": { "sender": { "sender_id": null } } });
        let nothing = json!({ "event": { "sender": null } });
        let empty = json!({ "event": { "sender": { "sender_id": { "open_id": "", "union_id": "", "user_id": "" } } } });
        // An id in the wrong place, as text, or inside other text is no id.
        let nested =
            json!({ "event": { "sender": { "sender_id": { "open_id": ["ou_friend"], "union_id": null } } } });
        let strangers = [
            direct("ou_stranger").merging(named("ou_friend")),
            direct("ou_stranger").merging(named("friend")),
            direct("ou_fri\u{435}nd"),
            direct("OU_FRIEND"),
            direct("ou_friend "),
            direct("ou_friend\u{200b}"),
            direct("ou_friend,on_friend"),
            direct("ou_stranger").merging(nobody),
            direct("ou_stranger").merging(nothing),
            direct("ou_stranger").merging(empty),
            direct("ou_stranger").merging(nested),
        ];
        let bot = world.apps[0].bot_open_id.clone();
        let group = |text: &str| Push::group("oc_group", "ou_bob", text);
        let entity = |id: serde_json::Value| json!({ "event": { "message": { "mentions": [{ "key": "@_user_1", "id": id, "name": "Bot 0" }] } } });
        let forged = json!({ "text": format!("<at user_id=\"{bot}\">Bot 0</at> @_user_1 hello") });
        let unaddressed = [
            group("@Bot 0 hello"),
            group("@_user_1 hello"),
            group(&format!("@{bot} hello")),
            group("hello").with_content("text", &forged),
            group("hello").merging(entity(json!({ "open_id": "ou_other", "name": bot }))),
            group("hello").merging(entity(json!({ "open_id": format!("{bot} ") }))),
            group("hello").merging(entity(json!({}))),
            group("hello").merging(entity(json!(null))),
            group("hello").mentioning(Mention::All),
        ];
        let (direct_count, group_count) = (strangers.len() as u64, unaddressed.len() as u64);
        for push in strangers.into_iter().chain(unaddressed) {
            world.simulator.push(world.app(0), push).unwrap();
        }
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(world.simulator.read_ledger(|ledger| ledger.visible().len()), 0);
        let counts = world.handle.account(&world.id(0)).await.unwrap().counts;
        // Who has no type is no user: dropped as a bot.
        let people = counts.dropped.get("user_not_allowed").copied().unwrap_or_default();
        let bots = counts.dropped.get("from_bot").copied().unwrap_or_default();
        assert_eq!((people + bots, bots), (direct_count, 1), "{counts:?}");
        assert_eq!(counts.dropped.get("not_mentioned"), Some(&group_count), "{counts:?}");

        // The real ones are told from all of these.
        world.simulator.push(world.app(0), direct("ou_friend")).unwrap();
        world.simulator.push(world.app(0), group("hello").mentioning_bot()).unwrap();
        world
            .until("both answered", 2 * SECOND, |w| w.simulator.read_ledger(|l| l.visible().len()) == 2)
            .await;
        world.check().await;
    });
}
