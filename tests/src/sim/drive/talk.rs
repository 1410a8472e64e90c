//! What users and operators say.

use std::time::Duration;

use futures_util::FutureExt;
use moorline_core::{ChatId, IdempotencyKey};
use moorline_simulator::feishu::{Mention, Push};

use super::super::book::{self, Audience, Said, Sent};
use super::super::schedule::{Talk, direct_chat, group_chat, shared_chat, wechat_user};
use super::{Answered, Stage};

impl Stage {
    pub(super) fn say(&mut self, talk: Talk) {
        match talk {
            Talk::Direct { account, user, long } => self.say_directly(account, user, long),
            Talk::Group { account, group, mention, thread, long } => {
                let text = book::question(self.book.said.len(), long);
                let mut push = Push::group(group_chat(group, account).as_str(), "ou_somebody", text);
                let thread = thread.map(|n| format!("omt_{group}_{n}_a{account}"));
                if let Some(thread) = &thread {
                    push = push.in_thread(thread.clone());
                }
                let audience = if mention { Audience::Mention } else { Audience::Bystander };
                self.push(
                    account,
                    if mention { push.mentioning_bot() } else { push },
                    thread,
                    audience,
                    long,
                );
            }
            Talk::Shared { account } => {
                let apps: Vec<_> = self.world.apps.iter().map(|app| app.app_id.clone()).collect();
                let number = self.book.said.len();
                let push = Push::group(
                    shared_chat().as_str(),
                    "ou_somebody",
                    book::question(number + account, false),
                );
                let push = push.mentioning(Mention::Bot(apps[account].clone()));
                let pushed = self.world.simulator.push_to(&apps, push).unwrap();
                for (n, pushed) in pushed.into_iter().enumerate() {
                    let audience = if n == account { Audience::Mention } else { Audience::Bystander };
                    let (chat, message, at) = (shared_chat(), pushed.message_id, self.now());
                    self.note(Said { account: n, chat, thread: None, audience, long: false, message, at });
                }
            }
            Talk::Operator { account, user, send } => {
                let chat = match account.checked_sub(self.schedule().accounts) {
                    None => direct_chat(user, account),
                    Some(n) => ChatId::new(wechat_user(user, n).as_str()),
                };
                while self.book.sent.len() <= send {
                    self.book.sent.push(Sent { account, chat: chat.clone(), accepted: 0 });
                }
                let Sent { account, chat, .. } = self.book.sent[send].clone();
                self.send(account, chat, send, Duration::ZERO);
            }
        }
    }

    pub(super) fn say_directly(&mut self, account: usize, user: usize, long: bool) {
        if let Some(n) = account.checked_sub(self.schedule().accounts) {
            self.say_on_wechat(n, user);
            return;
        }
        let text = book::question(self.book.said.len(), long);
        let push = Push::direct(direct_chat(user, account).as_str(), format!("ou_u{user}"), text);
        self.push(account, push, None, Audience::Direct, long);
    }

    pub(super) fn push(
        &mut self,
        account: usize,
        push: Push,
        thread: Option<String>,
        audience: Audience,
        long: bool,
    ) {
        let chat = push.chat_id.clone();
        let app = self.world.app(account).clone();
        let pushed = self.world.simulator.push(&app, push).unwrap();
        let (message, at) = (pushed.message_id, self.now());
        self.note(Said { account, chat, thread, audience, long, message, at });
    }

    pub(super) fn note(&mut self, said: Said) {
        self.agent.expect(self.book.said.len(), said.account);
        self.book.note(said);
    }

    /// An operator sends a message, and goes on until somebody says that it has been taken.
    pub(super) fn send(&mut self, account: usize, chat: ChatId, send: usize, after: Duration) {
        let id = self.world.id(account);
        let (handle, up) = (self.world.handle.clone(), self.world.is_up());
        let key = Some(IdempotencyKey::new(format!("op-{send}")));
        self.commands.push(
            async move {
                tokio::time::sleep(after).await;
                if up && handle.send(&id, chat.clone(), book::announcement(send), key).await.is_ok() {
                    return Answered::Sent(send);
                }
                Answered::SendAgain { account, chat, send }
            }
            .boxed_local(),
        );
    }
}
