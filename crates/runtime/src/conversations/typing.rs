//! Shows a user that an answer is on its way, where the platform has a sign for it. Best effort: nothing here delays or
//! stops an answer (F-048). A turn that is answered at once never shows it.

use std::rc::Rc;
use std::time::Duration;

use moorline_channel::{Answering, Typing, TypingMark};
use moorline_core::{ChatId, ConversationId, MessageId, Secret};
use moorline_store::{Op, Tx};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::accounts::with_token;
use crate::services::{Account, Services};

/// A turn that takes longer than this shows that it is under way.
const SHOW_AFTER: Duration = Duration::from_secs(1);

/// For one call, and for what has to be looked up before it.
const DEADLINE: Duration = Duration::from_secs(5);

/// No sign is shown again sooner than this, however soon it fades.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The sign was not shown. Why is in the log.
struct NotShown;

/// The sign of typing in one conversation.
pub(super) struct Sign {
    pub(super) services: Rc<Services>,
    pub(super) account: Rc<Account>,
    pub(super) conversation: ConversationId,
}

impl Sign {
    /// Shows the sign beside `message` while the turn is under way; `over` resolves with its end. A sign that is being
    /// put up when the turn ends is put up, and then taken down: a call that is given up could leave one for ever.
    pub(super) async fn accompany(self, chat: ChatId, message: MessageId, mut over: oneshot::Receiver<()>) {
        let Some(typing) = self.account.plan.typing() else { return };
        // Whether the turn ended or was dropped is the same here.
        if timeout(SHOW_AFTER, &mut over).await.is_ok() {
            return;
        }
        let Some(lasts) = typing.lasts() else {
            let Ok(Some(mark)) = self.show(&*typing, &chat, &message, None).await else { return };
            self.remember(&mark.0).await;
            drop(over.await);
            if self.take_down(&*typing, &mark).await {
                self.remember("").await;
            }
            return;
        };
        let mut shown = None;
        loop {
            let again_at = Instant::now() + lasts.max(AGAIN_AFTER);
            // It fades by itself, and whoever cannot show it is not asked again.
            let Ok(mark) = self.show(&*typing, &chat, &message, shown.as_ref()).await else { return };
            shown = mark;
            if timeout_at(again_at, &mut over).await.is_ok() {
                break;
            }
        }
        if let Some(mark) = shown {
            self.take_down(&*typing, &mark).await;
        }
    }

    /// Takes down what a turn that was interrupted left behind.
    pub(super) async fn clear_leftover(self) {
        let Some(typing) = self.account.plan.typing().filter(|typing| typing.lasts().is_none()) else {
            return;
        };
        if let Ok(Some(mark)) = self.services.store.cursor(&self.account.id, &self.kind()).await
            && !mark.is_empty()
            && self.take_down(&*typing, &TypingMark(mark)).await
        {
            self.remember("").await;
        }
    }

    /// Shows the sign, or shows it again.
    async fn show(
        &self,
        typing: &dyn Typing,
        chat: &ChatId,
        message: &MessageId,
        shown: Option<&TypingMark>,
    ) -> Result<Option<TypingMark>, NotShown> {
        let showing = async {
            let reply_token = self.reply_token(chat).await;
            let http = Rc::clone(&self.services.network.http);
            let answering = Answering { chat, message, reply_token: reply_token.as_ref() };
            with_token(Rc::clone(&self.account), |token| {
                typing.start(Rc::clone(&http), token, answering, shown)
            })
            .await
        };
        match timeout(DEADLINE, showing).await {
            Ok(Ok(mark)) => return Ok(mark),
            Ok(Err(failure)) => {
                tracing::debug!(account = %self.account.id, conversation = %self.conversation, "sign of typing not shown: {failure}")
            }
            Err(_) => {
                tracing::debug!(account = %self.account.id, conversation = %self.conversation, "sign of typing not shown in time")
            }
        }
        Err(NotShown)
    }

    /// The chat's newest reply token; none where there is none to be had.
    async fn reply_token(&self, chat: &ChatId) -> Option<Secret> {
        let plan = &self.account.plan;
        if !plan.capabilities().reply_window {
            return None;
        }
        let window = self.services.store.reply_window(&self.account.id, chat, &plan.fingerprint()).await;
        Some(window.ok()?.token?.secret)
    }

    /// `false` when it may be there still; one that stays is remembered then, for the next life that finds this
    /// conversation's turn interrupted.
    async fn take_down(&self, typing: &dyn Typing, mark: &TypingMark) -> bool {
        let http = Rc::clone(&self.services.network.http);
        let stopping =
            with_token(Rc::clone(&self.account), |token| typing.stop(Rc::clone(&http), token, mark));
        match timeout(DEADLINE, stopping).await {
            Ok(Ok(())) => return true,
            Ok(Err(failure)) => {
                tracing::debug!(account = %self.account.id, conversation = %self.conversation, "sign of typing not taken down: {failure}")
            }
            Err(_) => {
                tracing::debug!(account = %self.account.id, conversation = %self.conversation, "sign of typing not taken down in time")
            }
        }
        false
    }

    async fn remember(&self, mark: &str) {
        let op = Op::SetCursor { kind: self.kind(), value: mark.to_owned() };
        let tx = Tx::under(&self.account.lease, self.services.clock.wall(), [op]);
        if let Err(error) = self.services.store.commit(tx).await {
            tracing::debug!(account = %self.account.id, "sign of typing not remembered: {error}");
        }
    }

    fn kind(&self) -> String {
        format!("typing:{}", self.conversation)
    }
}
