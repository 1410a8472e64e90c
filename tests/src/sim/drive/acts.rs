//! What is done to the system.

use std::hash::Hash as _;
use std::time::Duration;

use moorline_simulator::feishu::{Cut, Fault, Reach};
use moorline_supervision::Fault as Drill;

use super::super::checkers::Checkers;
use super::super::faults::{Act, Actor, Command, Lure};
use super::super::report::clock;
use super::{KEY_LAPSES, Stage};

impl Stage {
    /// Remembers which kind a fault belongs to. A key that lapses is counted where it did.
    pub(super) fn know(&mut self, account: usize, fault: Fault, kind: &str) {
        if kind != KEY_LAPSES {
            self.set.push((account, fault, kind.to_owned()));
        }
    }

    /// Counts a fault that struck.
    pub fn strike(&mut self, kind: &str) {
        *self.struck.entry(kind.to_owned()).or_default() += 1;
    }

    pub(super) fn tell(&mut self, line: &str) {
        let line = format!("{} {line}", clock(self.now()));
        line.hash(&mut self.trace);
        self.story.push(line);
    }

    pub(super) async fn act(&mut self, kind: &str, act: Act, checkers: &mut Checkers) -> Result<(), String> {
        self.tell(&format!("{kind}: {act:?}"));
        let simulator = self.world.simulator.clone();
        let app = |stage: &Self, account: usize| stage.world.app(account).clone();
        match act {
            Act::Set { account, fault, times, lure } => {
                self.know(account, fault.clone(), kind);
                // One that is there from the beginning was set before the first connection.
                if !self.now().is_zero() {
                    simulator.set_fault(&app(self, account), fault, times).unwrap();
                    self.lure(account, lure);
                }
            }
            Act::Clear { account } => self.clear(account),
            Act::Cut { account, cut } => {
                if simulator.drop_connections(&app(self, account), &cut).unwrap() > 0 {
                    self.strike(kind);
                }
            }
            Act::Inject { account, frame } => {
                if simulator.inject(&app(self, account), frame).unwrap() > 0 {
                    self.strike(kind);
                }
            }
            Act::Revoke { account } => {
                simulator.revoke_tokens(&app(self, account)).unwrap();
                self.strike(kind);
                self.say_directly(account, 0, false);
            }
            Act::PushAgain { account } => {
                let last = self.book.said.iter().rev().find(|said| said.account == account);
                let message = last.map(|said| said.message.clone());
                if let Some(message) = message
                    && simulator.push_again(&app(self, account), &message).unwrap().is_some()
                {
                    self.strike(kind);
                }
            }
            Act::Reach { reach, cut } => {
                simulator.set_reach(reach);
                if reach != Reach::Open {
                    self.strike(kind);
                }
                for n in 0..self.accounts.len() {
                    if let Some(cut) = &cut {
                        simulator.drop_connections(&app(self, n), cut).unwrap();
                    }
                }
            }
            Act::Panic { actor } => {
                self.misled |= self.set_far;
                if self.panic(&actor) {
                    self.strike(kind);
                }
            }
            Act::Crash { down } => {
                if self.world.is_up() {
                    self.strike(kind);
                    self.crash(down, checkers).await?;
                }
            }
            Act::Restart { down } => {
                if self.world.is_up() && !self.store.failed() {
                    self.strike(kind);
                    self.goodbyes.push(self.now());
                    self.commands.clear();
                    self.world.shutdown().await;
                    self.gone(down, checkers)?;
                }
            }
            Act::Reload(edit) => self.reload(kind, edit),
            Act::Operator { account, command } => self.command(kind, account, command),
            Act::Clock { seconds } => {
                self.world.clock.step(seconds * 1_000);
                self.clock_was_set = true;
                self.set_far |= seconds.unsigned_abs() >= 3_600;
                self.strike(kind);
            }
            Act::Sleep(span) => {
                self.world.sleep_machine(span);
                self.slept += span;
                self.strike(kind);
            }
            Act::Freeze(span) => {
                tokio::time::advance(span).await;
                self.frozen = Some(self.now());
                self.strike(kind);
            }
            Act::WeChat { account, act } => self.act_on_wechat(kind, account, act),
            Act::Store(mood) => self.store.set(mood),
            Act::StoreWell => self.store.clear(),
        }
        Ok(())
    }

    pub(super) fn lure(&mut self, account: usize, lure: Lure) {
        let app = self.world.app(account).clone();
        match lure {
            Lure::None => {}
            Lure::Reconnect => drop(self.world.simulator.drop_connections(&app, &Cut::Reset).unwrap()),
            Lure::Message => self.say_directly(account, 0, false),
            Lure::Token => {
                self.world.simulator.revoke_tokens(&app).unwrap();
                self.say_directly(account, 0, false);
            }
            Lure::Probe => self.command("", account, Command::Probe),
        }
    }

    /// Ends all faults of an app; those that struck have been counted by it.
    pub(super) fn clear(&mut self, account: usize) {
        let app = self.world.app(account).clone();
        self.world.simulator.clear_faults(&app).unwrap();
    }

    pub(super) fn panic(&self, actor: &Actor) -> bool {
        if !self.world.is_up() {
            return false;
        }
        let drills = self.world.handle.drills();
        match actor {
            Actor::Path(path) => drills.inject(path, Drill::Panic),
            Actor::Conversation => {
                let nodes = self.world.handle.tree();
                let mut conversations =
                    nodes.iter().filter(|node| node.path.starts_with("runtime/conversations/"));
                // One that works, if any does.
                let busy = conversations.clone().find(|node| node.in_flight > 0);
                busy.or_else(|| conversations.next())
                    .is_some_and(|node| drills.inject(&node.path, Drill::Panic))
            }
        }
    }

    pub(super) async fn crash(&mut self, down: Duration, checkers: &mut Checkers) -> Result<(), String> {
        self.commands.clear();
        self.store.crash();
        self.world.crash().await;
        self.gone(down, checkers)
    }

    /// There is no process any more.
    pub(super) fn gone(&mut self, down: Duration, checkers: &mut Checkers) -> Result<(), String> {
        self.store.crash();
        self.since = self.now();
        self.boot_at = Some(self.now() + down);
        checkers.process_gone(self)
    }

    pub(super) async fn boot(&mut self) {
        self.boot_at = None;
        match self.world.try_boot().await {
            Ok(()) => {
                self.misled |= self.set_far;
                self.since = self.now();
            }
            // Whoever starts processes tries again.
            Err(_) => {
                self.store.crash();
                self.boot_at = Some(self.now() + Duration::from_secs(1));
            }
        }
    }
}
