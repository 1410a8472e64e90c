//! The statements of signs of life and gaps.

pub(in crate::sqlite) const HEARD_SET: &str = "
    INSERT INTO heard (account, at, orderly) VALUES (?1, ?2, ?3)
    ON CONFLICT (account) DO UPDATE SET at = excluded.at, orderly = excluded.orderly";
pub(in crate::sqlite) const GAP_EXTEND: &str = "
    UPDATE gap SET ended_at = ?4, why = ?5, recorded_at = ?6
    WHERE account = ?1 AND began_at = ?2 AND kind = ?3 RETURNING id";
pub(in crate::sqlite) const GAP_INSERT: &str = "
    INSERT INTO gap (account, began_at, kind, ended_at, why, recorded_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    RETURNING id";
pub(in crate::sqlite) const PRUNE_GAPS: &str = "
    DELETE FROM gap WHERE id IN (
        SELECT id FROM gap WHERE recorded_at < ?1 ORDER BY recorded_at, id LIMIT ?2)
    RETURNING account";
pub(in crate::sqlite) const DISCARD_GAPS: &str =
    "DELETE FROM gap WHERE id IN (SELECT id FROM gap WHERE account = ?1 ORDER BY id LIMIT ?2)";
pub(in crate::sqlite) const DISCARD_HEARD: &str = "DELETE FROM heard WHERE account = ?1";

/// The columns of a gap in the order that `gap::gap_row` expects.
macro_rules! gap_columns {
    () => {
        "SELECT gap.id, account.name, gap.began_at, gap.ended_at, gap.kind, gap.why, gap.recorded_at "
    };
}

pub(in crate::sqlite) const GAPS: &str = concat!(
    gap_columns!(),
    "FROM gap INDEXED BY gap_account JOIN account ON account.id = gap.account
     WHERE gap.account = (SELECT id FROM account WHERE name = ?3) AND gap.id < ?1 ORDER BY gap.id DESC LIMIT ?2"
);
pub(in crate::sqlite) const GAPS_OF_ALL: &str = concat!(
    gap_columns!(),
    "FROM gap NOT INDEXED CROSS JOIN account ON account.id = gap.account
     WHERE gap.id < ?1 ORDER BY gap.id DESC LIMIT ?2"
);

/// Every account with its last sign of life, and with its last gap.
pub(in crate::sqlite) const LIVES_HEARD: &str =
    "SELECT account.name, heard.at, heard.orderly FROM account LEFT JOIN heard ON heard.account = account.id";
pub(in crate::sqlite) const LIVES_GAPS: &str = concat!(
    gap_columns!(),
    "FROM account CROSS JOIN gap NOT INDEXED ON gap.id = (
         SELECT id FROM gap AS last INDEXED BY gap_account WHERE last.account = account.id ORDER BY id DESC LIMIT 1)"
);

/// All but those of all accounts, for the test that none reads a whole table.
#[cfg(test)]
pub(in crate::sqlite) const GAP: &[&str] =
    &[GAP_EXTEND, PRUNE_GAPS, DISCARD_GAPS, DISCARD_HEARD, GAPS, GAPS_OF_ALL];
