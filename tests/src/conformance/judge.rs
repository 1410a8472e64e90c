//! The verdict, the same for every channel: what the platform was told that we have, and nobody answered, is *lost*; what
//! a user sees twice is *doubled*, unless it was marked as possibly repeated on a platform that knows no keys; what the
//! platform will never offer again, and we never had, is *missed*, and has to be covered by a gap.

use moorline_core::Timestamp;
use serde::Deserialize;

use super::stage::Fate;
use super::theatre::{Said, Theatre};

/// What a run came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Judged {
    /// Messages of users, and of operators.
    pub said: usize,
    /// Acknowledged and never answered.
    pub lost: usize,
    /// Seen more than once.
    pub doubled: usize,
    /// Seen more than once, and marked so.
    pub marked: usize,
    /// Consumed or given up by the platform, before we had it.
    pub missed: usize,
    /// Records of gaps.
    pub gaps: usize,
}

/// From when to when messages may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Gap {
    /// The last sign of life before it.
    pub from: Timestamp,
    /// The first one after it.
    pub to: Timestamp,
}

/// Judges everything that was said.
///
/// # Panics
/// When anything is lost or doubled, or missed without a gap.
pub async fn judge(theatre: &Theatre) -> Judged {
    let mut judged = Judged { said: theatre.book().len(), ..Judged::default() };
    let mut wrong = Vec::new();
    let mut gaps = Vec::new();
    for n in 0..theatre.ids().len() {
        gaps.push(gaps_of(theatre, n).await);
    }
    judged.gaps = gaps.iter().map(Vec::len).sum();
    for (number, said) in theatre.book().iter().enumerate() {
        let copies = theatre.copies_of_parts(number);
        let (least, most) = (copies.iter().min().copied(), copies.iter().max().copied());
        if most > Some(1) {
            if theatre.capabilities().idempotency.is_none() && is_marked(theatre, said).await {
                judged.marked += 1;
            } else {
                judged.doubled += 1;
                wrong.push(format!("seen {copies:?} times: {}", short(said)));
            }
        }
        if least == Some(0) && !said.refused {
            if theatre.fate(number) == Fate::Gone && !is_stored(theatre, said).await {
                judged.missed += 1;
                let covered = |gap: &Gap| gap.from <= said.at && said.at <= gap.to;
                if !gaps[said.account].iter().any(covered) {
                    wrong.push(format!("missing since {}, and no gap says so: {}", said.at, short(said)));
                }
            } else {
                judged.lost += 1;
                wrong.push(format!("never answered, and {:?}: {}", theatre.fate(number), short(said)));
            }
        }
    }
    if !wrong.is_empty() {
        let described = theatre.house.describe(&theatre.ids()).await;
        panic!("{}\n{described}", wrong.join("\n"));
    }
    judged
}

/// The records of gaps of an account.
async fn gaps_of(theatre: &Theatre, n: usize) -> Vec<Gap> {
    let gaps = theatre.house.gaps(&theatre.id(n)).await;
    gaps.into_iter().map(|gap| serde_json::from_value(gap).unwrap()).collect()
}

/// Whether a row of the outbox says that its user may see it twice.
async fn is_marked(theatre: &Theatre, said: &Said) -> bool {
    let rows = theatre.house.outbox(&theatre.id(said.account)).await;
    let marked = rows.iter().filter(|row| row["possibly_repeated"] == true);
    marked.filter_map(|row| row["text"].as_str()).any(|text| said.text.contains(text))
}

/// Whether a user's message is in the inbox.
async fn is_stored(theatre: &Theatre, said: &Said) -> bool {
    let rows = theatre.house.inbox(&theatre.id(said.account)).await;
    rows.iter().filter_map(|row| row["text"].as_str()).any(|text| said.text.starts_with(text))
}

fn short(said: &Said) -> String {
    format!(
        "{:?} of {} to account {}",
        said.text.chars().take(60).collect::<String>(),
        said.user,
        said.account
    )
}
