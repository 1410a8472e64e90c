//! Shows a user that an answer is on its way, where the platform has a sign for it. Best effort: nothing here delays or
//! stops an answer (F-048). A turn that is answered at once never shows it.

use std::rc::Rc;
use std::time::Duration;

use moorline_channel::{Answering, Typing, TypingMark};
use moorline_core::{ChatId, ConversationId, MessageId};
use moorline_store::{Op, Tx};
use tokio::sync::oneshot;

use crate::accounts::with_token;
use crate::services::{Account, Services};

/// A turn that takes longer than this shows that it is under way.
const SHOW_AFTER: Duration = Duration::from_secs(1);

/// For one call.
const DEADLINE: Duration = Duration::from_secs(5);

/// The sign of typing in one conversation.
pub(super) struct Sign {
    pub(super) services: Rc<Services>,
    pub(super) account: Rc<Account>,
    pub(super) conversation: ConversationId,
}

impl Sign {
    /// Shows the sign beside `message` while the turn is under way; `over` resolves with its end. A sign that is being
    /// put up when the turn ends is put up, and then taken down: a call that is given up could leave one for ever.
    pub(super) async fn accompany(self, chat: ChatId, message: MessageId, over: oneshot::Receiver<()>) {
        let Some(typing) = self.account.plan.typing() else { return };
        let mut over = over;
        // Whether the turn ended or was dropped is the same here.
        if tokio::time::timeout(SHOW_AFTER, &mut over).await.is_ok() {
            return;
        }
        let http = Rc::clone(&self.services.network.http);
        let starting = with_token(Rc::clone(&self.account), |token| {
            let answering = Answering { chat: &chat, message: &message, reply_token: None };
            typing.start(Rc::clone(&http), token, answering, None)
        });
        let Ok(Ok(Some(mark))) = tokio::time::timeout(DEADLINE, starting).await else { return };
        self.remember(&mark.0).await;
        drop(over.await);
        self.take_down(&*typing, &mark).await;
    }

    /// Takes down what a turn that was interrupted left behind.
    pub(super) async fn clear_leftover(self) {
        let Some(typing) = self.account.plan.typing() else { return };
        if let Ok(Some(mark)) = self.services.store.cursor(&self.account.id, &self.kind()).await
            && !mark.is_empty()
        {
            self.take_down(&*typing, &TypingMark(mark)).await;
        }
    }

    async fn take_down(&self, typing: &dyn Typing, mark: &TypingMark) {
        let http = Rc::clone(&self.services.network.http);
        let stopping =
            with_token(Rc::clone(&self.account), |token| typing.stop(Rc::clone(&http), token, mark));
        match tokio::time::timeout(DEADLINE, stopping).await {
            Ok(Ok(())) => self.remember("").await,
            // It stays remembered, for the next life that finds this conversation's turn interrupted.
            Ok(Err(failure)) => {
                tracing::debug!(account = %self.account.id, conversation = %self.conversation, "sign of typing not taken down: {failure}")
            }
            Err(_) => {
                tracing::debug!(account = %self.account.id, conversation = %self.conversation, "sign of typing not taken down in time")
            }
        }
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
