//! Writing to agents' sessions: each message at most once, whatever breaks.
//!
//! A message is recorded, marked `sending` and only then sent. What a kill leaves `sending` stays so: HeyGen has no
//! idempotency key for messages, and one said twice may start two paid renderings.

use super::Run;
use super::access::may_ask;
use crate::decide;
use crate::error::Result;
use crate::event::Event;
use crate::locks::Purpose;
use crate::store::{OutgoingMessage, Store};
use crate::video::MessageState;

impl Run<'_, '_> {
    pub(super) fn send_messages(&mut self, store: &mut Store) -> Result<()> {
        let mut unsent = store.read(|tx| tx.unsent_messages())?;
        if let Some(rows) = &self.about {
            unsent.retain(|message| rows.contains(&message.row));
        }
        for message in unsent {
            if self.limiter.is_closed() {
                return Ok(());
            }
            self.send_message(store, &message)?;
        }
        Ok(())
    }

    fn send_message(&mut self, store: &mut Store, message: &OutgoingMessage) -> Result<()> {
        let Some(access) = self.access()? else {
            return Ok(());
        };
        let Some(_guard) = self.locks.try_row(Purpose::Send, message.row)? else {
            return Ok(());
        };
        let Some(video) = store.read(|tx| tx.video(message.row))? else {
            return Ok(());
        };
        let Some(job) = video.job().filter(|_| may_ask(&access.account, &video)) else {
            return Ok(());
        };
        if self.spare(true).is_none() {
            return Ok(());
        }
        let (unsent, sending) = (MessageState::Unsent, MessageState::Sending);
        if !store.write(|tx| tx.move_message(message.id, unsent, sending, None))? {
            return Ok(());
        }
        let (state, run_id, why) = match access.message(&job, &message.text) {
            Ok(run_id) => (MessageState::Sent, run_id, None),
            Err(error) => (decide::after_message(&error), None, Some(error.message)),
        };
        self.commit(store, |run, tx| {
            tx.move_message(message.id, sending, state, run_id.as_deref())?;
            if state == unsent {
                return Ok(());
            }
            let event = Event::Message {
                message: message.kind,
                text: message.text.clone(),
                state,
                run_id,
                why,
            };
            run.write(tx, decide::happened(&video, event))
        })
    }
}
