//! The work queue of this process: the queue with its clock, and what a pass that was taken from it has a right to.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep},
};
use tracing::{error, info, warn};

use crate::domain::{
    governor::{ServerState, Shown},
    queue::{Key, Lane, Next, Queue, ServerView, Turn},
    spec::TokenUrl,
};

/// What waits to be reconciled.
pub struct WorkQueue {
    queue: Mutex<Queue>,
    changed: Notify,
    places: Arc<Semaphore>,
    started: Instant,
}

impl WorkQueue {
    /// So many connections are reconciled at once; a server may reject so many tokens until others are held
    /// ([`Governor`](crate::domain::governor::Governor)).
    pub fn new(concurrency: u16, max_refusals: u32) -> Self {
        let places = Arc::new(Semaphore::new(concurrency.into()));
        Self { queue: Mutex::new(Queue::new(max_refusals)), changed: Notify::new(), places, started: Instant::now() }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the queue, and lets it be looked at again.
    fn change<T>(&self, change: impl FnOnce(&mut Queue, Duration) -> T) -> T {
        let result = change(&mut self.queue(), self.started.elapsed());
        self.changed.notify_one();
        result
    }

    /// Something has changed: this connection is to be looked at, within this time if there is more to do than can be done.
    pub fn offer(&self, key: &Key, within: Duration) {
        self.change(|queue, now| queue.offer(key, now.saturating_add(within)));
    }

    /// The servers that tokens were sent to.
    pub fn servers(&self) -> Vec<ServerView> {
        self.queue().servers(self.started.elapsed())
    }

    /// A connection to this server is there; `is_rejected`: an earlier process met a rejection lately.
    pub fn note_connection(&self, server: &TokenUrl, uid: &str, is_rejected: bool) {
        let (mut queue, now) = (self.queue(), self.started.elapsed());
        queue.note_connection(server, uid, is_rejected, now);
    }

    /// A term begins: nothing is left of an earlier one but what is still at work.
    pub fn begin_term(&self) {
        self.change(|queue, _| queue.clear());
    }

    /// The work on a connection has ended; `is_woken`: something has changed meanwhile.
    pub fn finish(&self, key: &Key, next: Next, is_woken: bool) {
        self.change(|queue, now| {
            queue.finish(key, next);
            if is_woken {
                queue.offer(key, now);
            }
        });
    }

    /// So long from now, in the time of the queue.
    pub fn after(&self, wait: Duration) -> Duration {
        self.started.elapsed().saturating_add(wait)
    }

    /// The next connection, once there is one and a place for it.
    pub async fn take(self: &Arc<Self>) -> (Key, Work) {
        // No one closes the semaphore.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let (key, turn) = self.next().await;
        let request = match &turn.lane {
            Lane::Look => None,
            Lane::Server(server) => Some(InFlight { workqueue: Arc::clone(self), server: server.clone() }),
        };
        (key, Work { workqueue: Arc::clone(self), deadline: turn.deadline, place, request })
    }

    async fn next(&self) -> (Key, Turn) {
        loop {
            let (next, timer) = {
                let (mut queue, now) = (self.queue(), self.started.elapsed());
                (queue.pop(now), queue.wakes_at(now).map(|at| at.saturating_sub(now)))
            };
            match (next, timer) {
                (Some(next), _) => return next,
                (None, None) => self.changed.notified().await,
                (None, Some(wait)) => tokio::select! {
                    () = self.changed.notified() => {}
                    () = sleep(wait) => {}
                },
            }
        }
    }
}

/// What a pass has a right to.
pub struct Work {
    workqueue: Arc<WorkQueue>,
    /// By when it should be over, counted from the start of the process.
    deadline: Duration,
    place: Option<OwnedSemaphorePermit>,
    request: Option<InFlight>,
}

impl Work {
    /// The right to send a token to this server now; `Err`: it must wait for its turn. See [`Queue::enter`].
    ///
    /// # Errors
    /// How the server is treated.
    pub fn enter(&mut self, server: &TokenUrl, asked: bool) -> Result<InFlight, ServerState> {
        if let Some(request) = self.request.take_if(|request| request.server == *server) {
            return Ok(request);
        }
        // The spec has changed: it does not wait for that server any more.
        self.request = None;
        let (workqueue, now) = (&self.workqueue, self.workqueue.started.elapsed());
        let mut queue = workqueue.queue();
        match queue.enter(server, self.deadline, asked, now) {
            true => Ok(InFlight { workqueue: Arc::clone(workqueue), server: server.clone() }),
            false => Err(queue.state(server)),
        }
    }

    /// The place among those that are reconciled, to be given up while the server is waited for.
    pub fn take_place(&mut self) -> Option<OwnedSemaphorePermit> {
        self.place.take()
    }

    /// A turn at this server, in the order in which this work came.
    pub fn turn(&self, server: TokenUrl, is_in_doubt: bool) -> Turn {
        Turn { lane: Lane::Server(server), deadline: self.deadline, is_in_doubt }
    }

    /// So long from now, in the time of the queue.
    pub fn after(&self, wait: Duration) -> Duration {
        self.workqueue.after(wait)
    }
}

/// A token request that may be sent, or is on its way. Dropped, it gives way to the next.
pub struct InFlight {
    workqueue: Arc<WorkQueue>,
    server: TokenUrl,
}

impl InFlight {
    /// What the request showed, or another one to the same server.
    pub fn note(&self, uid: &str, shown: Shown) {
        let changed = self.workqueue.change(|queue, now| queue.note(&self.server, uid, shown, now));
        let server = self.server.shown();
        match changed {
            None => {}
            Some(ServerState::Healthy) => info!(server, "the server is well again"),
            Some(ServerState::Throttled) => warn!(server, "the server throttles; all connections to it wait"),
            Some(ServerState::Failing) => {
                warn!(server, "the server does not answer; one token at a time shows when it does");
            }
            Some(ServerState::Refusing) => error!(
                server,
                "the server rejects token after token; the others are held, and one at a time shows when it takes them again: see the runbook PleoServerRefusing"
            ),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.workqueue.change(|queue, _| queue.leave(&self.server));
    }
}
