//! Migrations: the numbered files of `migrations/`, applied once, in order, all or nothing.
//!
//! Own code, because it is short and the order matters: the version is read again inside `BEGIN IMMEDIATE`, so two
//! programs that both saw an old version cannot both apply the same step.

use rusqlite::{Connection, TransactionBehavior};

use super::APPLICATION_ID;

const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/0001_initial.sql"),
    include_str!("../../migrations/0002_hooks.sql"),
    include_str!("../../migrations/0003_webhooks.sql"),
    include_str!("../../migrations/0004_jobs.sql"),
    include_str!("../../migrations/0005_paths.sql"),
];

/// The schema every open database has: older ones are brought up to it, newer ones refused.
pub const LATEST: i64 = MIGRATIONS.len() as i64;

/// Brings the schema up to version `goal`; a kill in between leaves it exactly as it was.
pub(super) fn apply(conn: &mut Connection, goal: i64) -> rusqlite::Result<()> {
    // Rebuilding a table drops the old one, which would delete what refers to it. It cannot be set in a transaction.
    conn.pragma_update(None, "foreign_keys", false)?;
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let applied = usize::try_from(version).unwrap_or(usize::MAX);
    let wanted = usize::try_from(goal).unwrap_or_default();
    for migration in MIGRATIONS.iter().take(wanted).skip(applied) {
        transaction.execute_batch(migration)?;
    }
    if version < goal {
        transaction.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {goal};"
        ))?;
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_apply_once() {
        let mut conn = Connection::open_in_memory().unwrap();
        apply(&mut conn, LATEST).unwrap();
        apply(&mut conn, LATEST).unwrap();
        let version: i64 = conn
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .unwrap();
        assert_eq!(version, LATEST);
    }
}
