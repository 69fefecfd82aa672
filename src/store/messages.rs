//! Statements on `messages`: what is written to sessions.

use rusqlite::params;

use super::Tx;
use super::row::noun;
use crate::error::Result;
use crate::time::Timestamp;
use crate::video::{MessageKind, MessageState, RowId};

#[derive(Clone, Debug)]
pub(crate) struct OutgoingMessage {
    pub id: i64,
    pub row: RowId,
    pub kind: MessageKind,
    pub text: String,
}

impl Tx<'_> {
    /// Records a message; the next pass over its row sends it.
    pub fn put_message(
        &self,
        row: RowId,
        kind: MessageKind,
        text: &str,
        now: Timestamp,
    ) -> Result<()> {
        self.run(
            "INSERT INTO messages (video, kind, text, state, at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![row, kind, text, MessageState::Unsent, now],
        )
    }

    pub(crate) fn unsent_messages(&self) -> Result<Vec<OutgoingMessage>> {
        self.all(
            "SELECT id, video AS row, kind, text FROM messages WHERE state = 'unsent' ORDER BY id",
            [],
            noun!(OutgoingMessage: id, row, kind, text),
        )
    }

    pub(crate) fn has_unsent_message(&self, row: RowId, text: &str) -> Result<bool> {
        self.exists(
            "messages WHERE state = 'unsent' AND video = ? AND text = ?",
            params![row, text],
        )
    }

    pub(crate) fn last_message_state(&self, row: RowId) -> Result<Option<MessageState>> {
        self.value_if_any(
            "SELECT state FROM messages WHERE video = ?1 AND kind = 'reply' ORDER BY id DESC LIMIT 1",
            [row],
        )
    }

    pub(crate) fn nudges_sent(&self, row: RowId) -> Result<i64> {
        self.value(
            "SELECT count(*) FROM messages WHERE video = ?1 AND kind = 'nudge'",
            [row],
        )
    }

    /// Unsent messages of the row are never sent; returns them.
    pub(crate) fn withdraw_messages(&self, row: RowId) -> Result<Vec<OutgoingMessage>> {
        let mut unsent = self.unsent_messages()?;
        unsent.retain(|message| message.row == row);
        for message in &unsent {
            let (from, to) = (MessageState::Unsent, MessageState::Refused);
            self.move_message(message.id, from, to, None)?;
        }
        Ok(unsent)
    }

    pub(crate) fn put_back(&self, withdrawn: &OutgoingMessage) -> Result<()> {
        let (from, to) = (MessageState::Refused, MessageState::Unsent);
        self.move_message(withdrawn.id, from, to, None).map(drop)
    }

    /// Nudges that are never sent are counted, all the same: a retry gets as many.
    pub(crate) fn give_up_nudges(&self, row: RowId, count: i64) -> Result<()> {
        (0..count).try_for_each(|_| {
            self.run(
                "INSERT INTO messages (video, kind, text, state, at) VALUES (?1, 'nudge', '', 'refused', ?2)",
                params![row, crate::time::now()],
            )
        })
    }

    /// Moves a message on from the state it was read in; `false` when somebody else did.
    pub fn move_message(
        &self,
        id: i64,
        from: MessageState,
        to: MessageState,
        run_id: Option<&str>,
    ) -> Result<bool> {
        self.changed(
            "UPDATE messages SET state = ?3, run_id = ?4 WHERE id = ?1 AND state = ?2",
            params![id, from, to, run_id],
        )
    }
}
