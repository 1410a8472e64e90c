//! The suite can fail: a platform that goes wrong in one way each is played against a channel that is right, and each
//! time the scenario says what is wrong.

use std::net::SocketAddr;

use moorline_channel::{Factory, Network};
use moorline_core::ChatId;

use super::run::Task;
use super::stage::{Fate, Harm, MessageRef, NotApplicable, Opening, Stage};
use super::{Ended, Mount, Open, feishu, scenarios};

/// What is wrong with a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bend {
    /// What is done to it has no effect.
    Blunt,
    /// Users see the second message of ours twice.
    SeesDouble,
    /// Users do not see answers to what was said last, although it was acknowledged.
    Blind,
    /// It gave messages up, and nobody had noticed.
    GivesUp,
    /// There were two connections at once.
    TwoConnections,
    /// What is done to the first account is done to the second one too.
    Splash,
}

struct Bent {
    stage: Box<dyn Stage>,
    bend: Bend,
}

impl Stage for Bent {
    fn factory(&self) -> &'static dyn Factory {
        self.stage.factory()
    }

    fn configuration(&self, base: &str) -> String {
        self.stage.configuration(base)
    }

    fn network(&self) -> Network {
        self.stage.network()
    }

    fn serve(&mut self) -> SocketAddr {
        self.stage.serve()
    }

    fn address(&self, n: usize, user: &str) -> ChatId {
        self.stage.address(n, user)
    }

    fn user_writes(&self, n: usize, user: &str, text: &str) -> MessageRef {
        if self.bend == Bend::GivesUp && user.starts_with("user") {
            return MessageRef("never offered".to_owned());
        }
        self.stage.user_writes(n, user, text)
    }

    fn fate(&self, message: &MessageRef) -> Fate {
        if message.0 == "never offered" { Fate::Gone } else { self.stage.fate(message) }
    }

    fn visible(&self, n: usize, user: &str) -> Vec<String> {
        let mut visible = self.stage.visible(n, user);
        match self.bend {
            // Seen once at first, or the scenario would not get that far.
            Bend::SeesDouble if user == "last" => visible.extend(visible.clone()),
            Bend::Blind if user == "last" => visible.clear(),
            _ => {}
        }
        visible
    }

    fn most_connections(&self, n: usize) -> usize {
        if self.bend == Bend::TwoConnections { 2 } else { self.stage.most_connections(n) }
    }

    fn harm(&self, n: usize, harm: Harm) -> Result<(), NotApplicable> {
        match self.bend {
            Bend::Blunt => Ok(()),
            Bend::Splash => {
                self.stage.harm(1, harm)?;
                self.stage.harm(n, harm)
            }
            _ => self.stage.harm(n, harm),
        }
    }

    fn heal(&self, n: usize) {
        self.stage.heal(n);
    }

    fn blows(&self, n: usize) -> u64 {
        self.stage.blows(n)
    }
}

/// Plays a scenario in memory.
fn play(scenario: &str, open: Open) -> Ended {
    let scenarios = scenarios();
    let scenario = scenarios.iter().find(|known| known.name == scenario).unwrap();
    Task { place: 0, scenario, channel: "bent", open, mount: Mount::Memory }.play().ended
}

fn bent(opening: &Opening, bend: Bend) -> Box<dyn Stage> {
    Box::new(Bent { stage: feishu::open(opening), bend })
}

/// The scenario fails, and says this.
fn fails(scenario: &str, open: Open, says: &str) {
    match play(scenario, open) {
        Ended::Failed(why) => assert!(why.contains(says), "{why}"),
        ended => panic!("{scenario}: {ended}"),
    }
}

#[test]
fn a_harm_that_never_strikes_shows_nothing() {
    fails("oversized", |opening| bent(opening, Bend::Blunt), "struck");
}

#[test]
fn what_is_seen_twice_is_doubled() {
    fails("connect", |opening| bent(opening, Bend::SeesDouble), "seen [2] times");
}

#[test]
fn what_was_acknowledged_and_is_not_answered_is_not_waited_for_for_ever() {
    fails("connect", |opening| bent(opening, Bend::Blind), "answered: after everything");
}

#[test]
fn what_is_missing_needs_a_gap() {
    fails("drop during a burst", |opening| bent(opening, Bend::GivesUp), "no gap says so");
}

#[test]
fn two_connections_at_once_are_one_too_many_f026() {
    fails("connect", |opening| bent(opening, Bend::TwoConnections), "connections at once");
}

#[test]
fn what_is_done_to_one_account_must_not_reach_another_g7() {
    fails("half-open", |opening| bent(opening, Bend::Splash), "the other accounts notice nothing");
}

#[test]
fn what_a_platform_cannot_do_is_shown_with_its_reason() {
    let ended = play("refused: needs_login", feishu::open);
    assert!(matches!(&ended, Ended::NotApplicable(why) if why == "an app secret needs no login"), "{ended}");
}
