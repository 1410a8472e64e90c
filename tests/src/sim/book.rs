//! What was said by whom to whom: the truth that the ledgers, the store and the agent are held against.

use std::collections::BTreeMap;
use std::time::Duration;

use moorline_core::{ChatId, MessageId};

/// Who a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The bot, in a chat between it and the user.
    Direct,
    /// The bot, which is mentioned in a group.
    Mention,
    /// Others: nobody mentions the bot.
    Bystander,
}

/// A message of a user, as one account is told of it.
#[derive(Debug, Clone)]
pub struct Said {
    /// The account that is told.
    pub account: usize,
    /// Where it was written.
    pub chat: ChatId,
    /// The thread it was written in.
    pub thread: Option<String>,
    /// Whom it is for.
    pub audience: Audience,
    /// Whether the answer is to be long.
    pub long: bool,
    /// The platform's id.
    pub message: MessageId,
    /// When, since the start.
    pub at: Duration,
}

/// A message of an operator.
#[derive(Debug, Clone)]
pub struct Sent {
    /// By which account.
    pub account: usize,
    /// Where to.
    pub chat: ChatId,
    /// How often the runtime said that it has it.
    pub accepted: u32,
}

/// Everything that was said. A message's number is its place among all of them, and stands in its text.
#[derive(Debug, Default)]
pub struct Book {
    /// By number.
    pub said: Vec<Said>,
    /// Of operators, by number.
    pub sent: Vec<Sent>,
    /// Numbers by account and message.
    by_message: BTreeMap<(usize, MessageId), usize>,
}

/// What a text of ours that a user sees is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The answer to this message begins.
    Answer(usize),
    /// The message of an operator.
    Send(usize),
}

impl Book {
    /// Writes a message down under the next number.
    pub fn note(&mut self, said: Said) {
        self.by_message.insert((said.account, said.message.clone()), self.said.len());
        self.said.push(said);
    }

    /// The number of a message.
    #[must_use]
    pub fn number(&self, account: usize, message: &MessageId) -> Option<usize> {
        self.by_message.get(&(account, message.clone())).copied()
    }
}

/// What a user writes as message `number`; its answer is long when `long`.
#[must_use]
pub fn question(number: usize, long: bool) -> String {
    if long { format!("#{number} at length, please") } else { format!("#{number} hello") }
}

/// The number in a question, wherever it stands.
#[must_use]
pub fn number_of(question: &str) -> Option<usize> {
    digits(question.split_once('#')?.1)
}

/// The one right answer to a question: so long that a platform may want it in parts, if that was asked for.
#[must_use]
pub fn answer(question: &str) -> Option<String> {
    let number = number_of(question)?;
    let mut text = format!("[re {number}]");
    if question.contains("at length") {
        for paragraph in 0..(number % 5 + 1) * 60 {
            text.push_str(&format!(
                " Paragraph {paragraph} of answer {number}: it goes on for a while, so that its end is far away from \
                 its beginning, and says nothing that has not been said before, at some length, in other words.\n\n"
            ));
        }
    }
    text.push_str(&format!(" [end {number}]"));
    Some(text)
}

/// What an operator sends as message `number`.
#[must_use]
pub fn announcement(number: usize) -> String {
    format!("[op {number}] something you should know")
}

/// What a text of ours is about, if it is the beginning of something we know.
#[must_use]
pub fn about(text: &str) -> Option<About> {
    if let Some(rest) = text.strip_prefix("[re ") {
        return digits(rest).map(About::Answer);
    }
    digits(text.strip_prefix("[op ")?).map(About::Send)
}

/// A text without its white space, so that it does not matter where it was cut into parts.
#[must_use]
pub fn dense(text: &str) -> String {
    text.split_whitespace().collect()
}

fn digits(text: &str) -> Option<usize> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}
