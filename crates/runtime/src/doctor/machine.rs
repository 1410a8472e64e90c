//! What can be wrong with the machine under the process.

use super::finding::{Finding, FindingKind};
use crate::machine::{Disk, Exposed, MachineFacts};

/// Less room than this, in bytes, and less than a tenth of the disk, is worth a warning:
const LOW: u64 = 1 << 30;
/// a log of the store may take as much. And with less than this the end is near, however small the disk.
const VERY_LOW: u64 = 100 << 20;

/// What an account may have open: its socket, and calls beside it.
const FILES_OF_AN_ACCOUNT: u64 = 4;
/// What the process has open beside that: the store, the admin endpoint, the log.
const FILES_OF_ITS_OWN: u64 = 64;

pub(super) fn examine(facts: &MachineFacts, accounts: usize) -> Vec<Finding> {
    let mut findings: Vec<Finding> = facts.disk.iter().filter_map(disk).collect();
    findings.extend(facts.exposed.iter().map(exposed));
    findings.extend(facts.warnings.iter().map(|line| configured(line)));
    findings.extend(facts.open_files.and_then(|limit| files(limit, accounts)));
    findings
}

fn disk(disk: &Disk) -> Option<Finding> {
    let very_low = disk.free < VERY_LOW;
    let low = disk.free < LOW && disk.free < disk.total / 10;
    let finding = Finding::error(
        FindingKind::DiskLow,
        None,
        "the disk is nearly full; when it is, nothing is received any more",
        format!(
            "{} MiB of {} MiB are free where {} is",
            disk.free >> 20,
            disk.total >> 20,
            disk.path.display()
        ),
        "make room on the disk that holds data_dir, or shorten runtime.retention",
    );
    if very_low { Some(finding) } else { low.then(|| finding.warning()) }
}

fn exposed(exposed: &Exposed) -> Finding {
    Finding::error(
        FindingKind::FileExposed,
        None,
        "others on this machine may read what is ours alone",
        exposed.what.clone(),
        format!("`{}`", exposed.command),
    )
    .warning()
}

pub(super) fn configured(line: &str) -> Finding {
    Finding::error(
        FindingKind::ConfigWarning,
        None,
        "the configuration works, and probably not as it was meant",
        line,
        "see the page of the code at the end, in docs/errors; `moorline check` says the same",
    )
    .warning()
}

fn files(limit: u64, accounts: usize) -> Option<Finding> {
    let accounts = u64::try_from(accounts).unwrap_or(u64::MAX);
    let wanted = accounts.saturating_mul(FILES_OF_AN_ACCOUNT).saturating_add(FILES_OF_ITS_OWN);
    (limit < wanted).then(|| {
        Finding::error(
            FindingKind::FewFiles,
            None,
            format!("the process may open fewer files than its {accounts} accounts may need"),
            format!("the limit is {limit}, and they may need {wanted}"),
            format!("raise it before the start: `ulimit -n {wanted}`, or LimitNOFILE= of the systemd unit"),
        )
        .warning()
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    #[test]
    fn a_disk_is_low_by_its_size_and_by_what_is_left_f074() {
        let found = |free: u64, total: u64| {
            let disk = Some(Disk { path: "data".into(), free: free << 20, total: total << 20 });
            let findings = examine(&MachineFacts { disk, ..MachineFacts::default() }, 1);
            findings.first().map(|finding| finding.severity)
        };
        for (free, total, severity) in [
            (500_000, 1_000_000, None),
            (50_000, 1_000_000, None),
            (1_025, 1_000_000, None),
            (1_023, 1_000_000, Some(Severity::Warning)),
            (1_023, 2_000, None),
            (150, 1_400, None),
            (101, 2_000, Some(Severity::Warning)),
            (99, 2_000, Some(Severity::Error)),
            (99, 100, Some(Severity::Error)),
        ] {
            assert_eq!(found(free, total), severity, "{free} of {total} MiB");
        }
    }

    #[test]
    fn the_limit_of_open_files_grows_with_the_accounts_f099() {
        let few = |limit, accounts| {
            !examine(&MachineFacts { open_files: Some(limit), ..MachineFacts::default() }, accounts)
                .is_empty()
        };
        assert!(!few(1_024, 240) && few(1_024, 241) && few(64, 1));
    }
}
