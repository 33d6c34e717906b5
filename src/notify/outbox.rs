//! Notices that wait for the webhook: for each connection the last one, since only that is still true. So there are never more of them than
//! connections, however long the webhook is away.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::Notify;

use crate::domain::report::notice::Notice;

/// Where notices are handed in. Notices end when the last one of these is gone.
#[derive(Clone, Debug, Default)]
pub struct Outbox(Option<Arc<Hand>>);

/// Where notices come out, in the order in which their connections came.
#[derive(Debug)]
pub struct Notices {
    waiting: Arc<Waiting>,
    outbox: Weak<Hand>,
}

/// What wakes the other end when it is gone.
#[derive(Debug)]
struct Hand(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    notices: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// By the connection's uid.
    last: BTreeMap<String, Notice>,
    order: VecDeque<String>,
}

impl Outbox {
    /// An outbox, and where its notices come out.
    pub fn new() -> (Self, Notices) {
        let waiting = Arc::<Waiting>::default();
        let hand = Arc::new(Hand(Arc::clone(&waiting)));
        let notices = Notices { waiting, outbox: Arc::downgrade(&hand) };
        (Self(Some(hand)), notices)
    }

    /// There is no receiver.
    pub fn closed() -> Self {
        Self(None)
    }

    /// Hands a notice in, and does not wait for anything. It takes the place of an earlier one of its connection.
    pub fn send(&self, notice: Notice) {
        let Some(hand) = &self.0 else { return };
        let mut state = hand.0.state();
        let uid = notice.uid.clone();
        if state.last.insert(uid.clone(), notice).is_none() {
            state.order.push_back(uid);
        }
        drop(state);
        hand.0.changed.notify_one();
    }
}

impl Waiting {
    fn state(&self) -> MutexGuard<'_, State> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.0.changed.notify_one();
    }
}

impl Notices {
    /// The next notice, as soon as there is one; none once there can be no more.
    pub async fn next(&mut self) -> Option<Notice> {
        loop {
            // In this order: what was handed in before the end is still there.
            let is_over = self.outbox.strong_count() == 0;
            match self.try_next() {
                Some(notice) => return Some(notice),
                None if is_over => return None,
                None => self.waiting.changed.notified().await,
            }
        }
    }

    /// The next notice, if there is one.
    pub fn try_next(&mut self) -> Option<Notice> {
        let mut state = self.waiting.state();
        let uid = state.order.pop_front()?;
        state.last.remove(&uid)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::report::notice::NoticeKind;

    fn notice(connection: usize, kind: NoticeKind) -> Notice {
        let name = format!("c{connection}");
        let (reason, message) = ("GrantRefused".into(), "authorize again".into());
        let uid = format!("uid-{connection}");
        Notice { kind, namespace: "finance".into(), name, uid, reason, message, at: Timestamp::UNIX_EPOCH }
    }

    #[tokio::test]
    async fn of_each_connection_the_last_notice_is_sent_and_none_is_lost_in_a_mass_event() {
        let (outbox, mut notices) = Outbox::new();
        (0..10_000).for_each(|connection| outbox.send(notice(connection, NoticeKind::ReauthRequired)));
        outbox.send(notice(7, NoticeKind::Recovered));
        drop(outbox);
        let mut sent = Vec::new();
        while let Some(notice) = notices.next().await {
            sent.push((notice.uid, notice.kind));
        }
        assert_eq!(sent.len(), 10_000);
        assert_eq!(sent[7], ("uid-7".into(), NoticeKind::Recovered));
    }

    #[tokio::test]
    async fn a_receiver_that_waits_is_woken_by_a_notice_and_by_the_end() {
        let (outbox, mut notices) = Outbox::new();
        let receiving = tokio::spawn(async move { (notices.next().await.is_some(), notices.next().await.is_some()) });
        tokio::task::yield_now().await;
        outbox.send(notice(1, NoticeKind::Recovered));
        tokio::task::yield_now().await;
        drop(outbox);
        assert_eq!(receiving.await.unwrap(), (true, false));
    }
}
