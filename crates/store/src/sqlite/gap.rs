//! Signs of life and gaps as they are read.

use std::collections::BTreeMap;

use moorline_core::{AccountId, GapId};
use rusqlite::{Connection, Result, Row, params};

use super::apply::Prepared;
use super::read::{account_id, maybe_time, named, time};
use super::statements as sql;
use crate::gap::{Gap, GapKind, LastHeard, Life, NewGap};
use crate::listing::{Listed, Page};

pub(super) fn gaps(conn: &Connection, account: Option<&AccountId>, page: Page) -> Result<Listed<Gap>> {
    // One more than is wanted tells whether there is a next page.
    let count = i64::try_from(page.rows() + 1).unwrap_or(i64::MAX);
    let rows = match account {
        Some(account) => conn.all(sql::GAPS, params![page.below(), count, account.to_string()], gap_row)?,
        None => conn.all(sql::GAPS_OF_ALL, params![page.below(), count], gap_row)?,
    };
    Ok(page.of(rows, None, |gap| gap.id.get()))
}

pub(super) fn lives(conn: &Connection) -> Result<BTreeMap<AccountId, Life>> {
    let heard = conn.all(sql::LIVES_HEARD, [], |row| {
        let at = maybe_time(row, 1)?;
        let orderly = row.get::<_, Option<bool>>(2)?.unwrap_or(true);
        Ok((account_id(row, 0)?, at.map(|at| LastHeard { at, orderly })))
    })?;
    let mut lives: BTreeMap<AccountId, Life> =
        heard.into_iter().map(|(account, heard)| (account, Life { heard, last_gap: None })).collect();
    for gap in conn.all(sql::LIVES_GAPS, [], gap_row)? {
        let account = gap.account.clone();
        lives.entry(account).or_default().last_gap = Some(gap);
    }
    Ok(lives)
}

fn gap_row(row: &Row<'_>) -> Result<Gap> {
    let gap = NewGap {
        from: time(row, 2)?,
        to: time(row, 3)?,
        kind: named(row, 4, GapKind::from_name)?,
        why: row.get(5)?,
    };
    Ok(Gap { id: GapId::new(row.get(0)?), account: account_id(row, 1)?, gap, recorded_at: time(row, 6)? })
}
