//! What is said and done on the other channel.

use std::time::Duration;

use futures_util::FutureExt;
use moorline_core::{ChatId, MessageId};
use moorline_simulator::Reach;
use moorline_simulator::weixin::{BotId, NewMessage};
use moorline_store::Store;
use moorline_supervision::Fault as Drill;

use super::super::book::{self, Audience, Said};
use super::super::faults::WeChat;
use super::super::schedule::{WECHAT_USERS, wechat_user};
use super::Stage;

/// How often users write again so that what waits for that can go out.
const NUDGE_EVERY: Duration = Duration::from_secs(15);

impl Stage {
    fn bot(&self, n: usize) -> BotId {
        self.world.bots[n].bot_id.clone()
    }

    pub(super) fn say_on_wechat(&mut self, n: usize, user: usize) {
        let text = book::question(self.book.said.len(), false);
        let from = wechat_user(user, n);
        let chat = ChatId::new(from.as_str());
        let pushed = self.world.wechat.push(&self.bot(n), NewMessage::text(from.as_str(), text)).unwrap();
        let (account, message) =
            (self.schedule().accounts + n, MessageId::new(pushed.message_id.to_string()));
        let (audience, at) = (Audience::Direct, self.now());
        self.note(Said { account, chat, thread: None, audience, long: false, message, at });
    }

    pub(super) fn act_on_wechat(&mut self, kind: &str, n: usize, act: WeChat) {
        let (bot, wechat) = (self.bot(n), self.world.wechat.clone());
        match act {
            WeChat::Set { fault, times, lure } => {
                self.set_on_wechat.push((n, fault.clone(), kind.to_owned()));
                wechat.set_fault(&bot, fault, times).unwrap();
                if lure {
                    self.say_on_wechat(n, 0);
                }
            }
            WeChat::Clear => wechat.clear_faults(&bot).unwrap(),
            WeChat::Expire(expiry) => {
                wechat.expire(&bot, expiry).unwrap();
                self.strike(kind);
                self.say_on_wechat(n, 0);
            }
            WeChat::Heal => wechat.heal(&bot).unwrap(),
            WeChat::Reach(reach) => {
                wechat.set_reach(reach);
                self.wechat_back = self.now();
                if reach != Reach::Open {
                    self.strike(kind);
                }
            }
            WeChat::Operator(command) => {
                self.goodbyes.push(self.now());
                self.command(kind, self.schedule().accounts + n, command);
            }
            WeChat::Panic(actor) => {
                self.misled |= self.set_far;
                let path = format!("runtime/accounts/weixin:w{n}{actor}");
                if self.world.is_up() && self.world.handle.drills().inject(&path, Drill::Panic) {
                    self.strike(kind);
                }
            }
        }
    }

    pub(super) fn heal_wechat(&mut self) {
        self.world.wechat.set_reach(Reach::Open);
        self.wechat_back = self.now();
        for n in 0..self.world.bots.len() {
            self.world.wechat.clear_faults(&self.bot(n)).unwrap();
            self.world.wechat.heal(&self.bot(n)).unwrap();
        }
    }

    /// A platform takes answers only within a window that a message of the user opens: whoever has something to get
    /// writes again.
    pub(super) fn nudge(&mut self) {
        if self.now() < self.nudged + NUDGE_EVERY {
            return;
        }
        self.nudged = self.now();
        for n in 0..self.world.bots.len() {
            let id = self.world.id(self.schedule().accounts + n);
            let counts = Store::counts(&*self.world.store).now_or_never();
            let waiting = counts.and_then(Result::ok).and_then(|counts| counts.get(&id).map(|c| c.outbox));
            if waiting.unwrap_or_default() == 0 {
                continue;
            }
            for user in 0..WECHAT_USERS {
                self.say_on_wechat(n, user);
            }
        }
    }

    pub(super) fn gather_wechat(&mut self) {
        for n in 0..self.world.bots.len() {
            for (fault, times) in self.world.wechat.struck(&self.bot(n)).unwrap() {
                let kind = self.set_on_wechat.iter().find(|(account, set, _)| *account == n && *set == fault);
                if let Some((_, _, kind)) = kind {
                    *self.struck.entry(kind.clone()).or_default() += times;
                }
            }
        }
    }
}
