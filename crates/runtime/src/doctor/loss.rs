//! Messages that may be missing, and connections that may be deaf (F-040).

use std::time::Duration;

use super::Now;
use super::finding::{Finding, FindingKind as Kind};
use crate::board::AccountStatus;
use crate::handle::AccountView;

/// For how long a gap is told of after its end.
const TOLD: Duration = Duration::from_secs(24 * 3600);

/// The last gap, for a day: there is nothing to mend, and somebody may have to ask again.
pub(super) fn gap(view: &AccountView, now: Now) -> Option<Finding> {
    let last = view.gaps.last.as_ref().filter(|last| now.wall.since(last.gap.to) < TOLD)?;
    let id = &view.status.id;
    let finding = Finding::error(
        Kind::Gap,
        Some(id),
        format!(
            "messages of users may be missing: those sent from {} to {}, and maybe others ({} gaps so far)",
            last.gap.from, last.gap.to, view.gaps.count
        ),
        last.gap.why.clone(),
        format!(
            "look at the chats of that time, or ask its users to write again; `moorline gaps --account {id}` lists all \
             gaps, and this one is told of for a day"
        ),
    );
    Some(finding.warning().times(last.gap.from, None))
}

/// The connector has waited already before it says so.
pub(super) fn suspect(status: &AccountStatus) -> Option<Finding> {
    let suspicion = status.suspicion.as_ref()?;
    let id = &status.id;
    let finding = Finding::error(
        Kind::Suspect,
        Some(id),
        "the connection looks well and may be deaf: messages may be waiting on the platform",
        suspicion.why.clone(),
        format!(
            "write to the bot; if nothing comes (`moorline account show {id}`), `moorline account restart {id}` connects \
             anew, and where the channel has a login, a new one may be needed"
        ),
    );
    Some(finding.warning().times(suspicion.since, None))
}
