//! Jobs of the scheduler that do not do what they should (F-088).

use super::finding::{Finding, FindingKind};
use crate::handle::JobView;

pub(super) fn examine(view: &JobView) -> Option<Finding> {
    let row = &view.row;
    let (id, account) = (row.id, Some(&row.job.account));
    if let Some(reason) = row.reason.as_ref().filter(|_| !row.enabled) {
        let what = format!("job {id} does not run any more: it was disabled");
        let todo = format!("see `moorline cron show {id}`; then `moorline cron enable {id}`, or remove it");
        return Some(Finding::error(FindingKind::CronDisabled, account, what, reason, todo));
    }
    let failed = view.failures > 0 && row.enabled;
    let why = view.failure.clone().unwrap_or_default();
    failed.then(|| {
        let what = match view.failures {
            1 => format!("the last run of job {id} failed"),
            times => format!("the last {times} runs of job {id} failed"),
        };
        let todo = format!("see `moorline cron show {id}`; `moorline cron run {id}` tries it now");
        Finding::error(FindingKind::CronFailing, account, what, why, todo).warning()
    })
}
