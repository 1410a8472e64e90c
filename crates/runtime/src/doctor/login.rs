//! What can be wrong with logins that are saved, or are not, when no process is there to say so.

use std::path::PathBuf;

use moorline_core::AccountId;

use super::finding::{Finding, FindingKind};

/// Something that is wrong with the login of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginFault {
    /// The account is configured, and nobody has logged it in.
    Missing(AccountId),
    /// The account is configured, and its login cannot be read, for this reason.
    Unreadable(AccountId, String),
    /// The account is not configured, and this is its login.
    NotConfigured(AccountId, PathBuf),
}

pub(super) fn examine(fault: &LoginFault) -> Finding {
    match fault {
        LoginFault::Missing(id) => Finding::error(
            FindingKind::LoginMissing,
            Some(id),
            "would receive nothing: nobody is logged in",
            "there is no saved login of it in the data directory",
            format!("`moorline login {id}`"),
        ),
        LoginFault::Unreadable(id, why) => Finding::error(
            FindingKind::LoginUnreadable,
            Some(id),
            "would receive nothing: its saved login cannot be read",
            why,
            format!("`moorline login {id}` makes another, or mend the file"),
        ),
        LoginFault::NotConfigured(id, file) => Finding::error(
            FindingKind::LoginOrphaned,
            Some(id),
            "has a saved login, and is not configured",
            format!("{} is there, and whoever has it is the bot", file.display()),
            format!("configure the account again, or `moorline account discard-rows {id}`, which removes its login too"),
        )
        .warning(),
    }
}
