//! Processes of the operator: the real one, on a simulated line, endpoint and clock.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::Router;
use jiff::{SignedDuration, Timestamp};
use pleo_operator::{
    clock::{Clock, WallClock},
    cluster::{Store, connections::Scope, lease::LeaseConfig},
    domain::{ledger::grant::Holder, plan::schedule::Pace, spec::AllowedServers},
    notify::{Notices, Outbox},
    operator::{context::Policy, run::Operator},
    reports::intake::Intake,
    telemetry::metrics::Metrics,
    web::{address::PublicUrl, authorize::Site, server::router},
};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    apiserver::{ApiServer, SimClient},
    stage::world::{NAMESPACE, World},
};

/// The wall clock of one node. It runs as the monotonic one of its runtime does, and can be set.
#[derive(Clone)]
pub struct NodeClock {
    /// An instant of the runtime, and the true time then.
    known: Arc<Mutex<(Instant, Timestamp)>>,
    ahead: Arc<Mutex<SignedDuration>>,
}

impl NodeClock {
    fn new(time: &ApiServer) -> Self {
        Self { known: Arc::new(Mutex::new((Instant::now(), time.now()))), ahead: Arc::default() }
    }

    /// The node has another runtime from now on, or its monotonic clock stood still for a while: it is this time now.
    pub fn set_true_time(&self, now: Timestamp) {
        *self.known.lock().unwrap() = (Instant::now(), now);
    }

    /// Sets the clock forward, or back where `seconds` is negative. What is monotonic does not notice, as when a node
    /// was suspended.
    pub fn jump(&self, seconds: i64) {
        *self.ahead.lock().unwrap() += SignedDuration::from_secs(seconds);
    }
}

impl WallClock for NodeClock {
    fn now(&self) -> Timestamp {
        let (then, true_time) = *self.known.lock().unwrap();
        let passed = SignedDuration::try_from(then.elapsed()).expect("no simulation is that long");
        true_time + passed + *self.ahead.lock().unwrap()
    }
}

/// A pod on its node. Its processes come and go; name and clock stay.
#[derive(Clone)]
pub struct Pod {
    /// Also the name of its client in the API server's trace.
    pub name: String,
    pub clock: NodeClock,
    pub lease: String,
    pub lease_duration: Duration,
    pub request_timeout: Duration,
    /// Where people reach it, if they do.
    pub public: Option<PublicUrl>,
}

impl Pod {
    pub fn new(world: &World, name: &str) -> Self {
        Self {
            name: name.into(),
            clock: NodeClock::new(&world.server),
            lease: "pleo-operator".into(),
            // Renewed once in a while only: a Lease of 15 s is most of the work in a story of days.
            lease_duration: Duration::from_secs(3600),
            request_timeout: Duration::from_secs(60),
            public: None,
        }
    }

    /// A Lease of its own: two of these lead at once.
    pub fn with_lease(self, lease: &str) -> Self {
        Self { lease: lease.into(), ..self }
    }

    /// With pages to consent on, under this address.
    pub fn with_pages(self, address: &str) -> Self {
        Self { public: Some(address.parse().expect("an address")), ..self }
    }

    /// A Lease that lasts as long as it does by default, for stories about the loss of it.
    pub fn with_brief_lease(self) -> Self {
        Self { lease_duration: Duration::from_secs(15), ..self }
    }

    /// Starts a process.
    pub fn start(&self, world: &World) -> Process {
        let client = world.server.client(&self.name);
        let clock: Clock = Arc::new(self.clock.clone());
        let (stop, metrics) = (CancellationToken::new(), Arc::new(Metrics::new()));
        let (outbox, notices) = Outbox::new();
        let holder = Holder { identity: self.name.clone(), process: world.next_process() };
        let operator = Operator {
            store: Store::new(client.kube()),
            endpoint: world.pleo.endpoint(client.clone(), &holder, Arc::clone(&clock), self.request_timeout),
            clock,
            policy: Policy {
                holder: holder.clone(),
                namespaces: Vec::new(),
                allowed: AllowedServers::new(Vec::new()),
                pace: Pace { request_timeout: self.request_timeout },
                introspection: true,
                links: self.public.as_ref().map(|address| address.base().to_owned()),
                concurrency: 32,
                max_refusals: 5,
                notify_pods_per_second: 50,
            },
            lease: LeaseConfig { namespace: NAMESPACE.into(), name: self.lease.clone(), duration: self.lease_duration },
            outbox,
            metrics: Arc::clone(&metrics),
        };
        let pages = self.public.clone().map(|address| {
            // A store of its own, as in the program: what it writes wakes the controllers.
            let (store, clock) = (Store::new(client.kube()), Arc::new(self.clock.clone()));
            let returns = vec![RETURNS.parse().expect("a site")];
            router(Arc::new(Site { store, clock, address, returns, scope: everything() }))
        });
        let (store, clock) = (Store::new(client.kube()), Arc::new(self.clock.clone()));
        let intake = Arc::new(Intake::new(store, clock, everything(), Arc::clone(&metrics)));
        let running = tokio::spawn(operator.run(stop.clone()));
        Process { pod: self.clone(), holder, client, metrics, notices, pages, intake, stop, running }
    }
}

/// All connections, and Pleo's own servers.
fn everything() -> Scope {
    Scope { allowed: AllowedServers::new(Vec::new()), namespaces: Vec::new() }
}

/// Where people may be led on to.
pub const RETURNS: &str = "https://app.example.com";

/// A process under way.
pub struct Process {
    pub pod: Pod,
    pub holder: Holder,
    /// Its line to the API server.
    pub client: SimClient,
    pub metrics: Arc<Metrics>,
    /// What the webhook is to be told.
    pub notices: Notices,
    /// What people see.
    pub pages: Option<Router>,
    /// What takes reports of rejected tokens.
    pub intake: Arc<Intake>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Process {
    /// SIGTERM.
    pub fn terminate(&self) {
        self.stop.cancel();
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.running.is_finished()
    }

    /// SIGTERM, and the end of it.
    pub async fn stop(self) -> Pod {
        self.terminate();
        self.running.await.expect("the operator panicked");
        self.pod
    }

    /// SIGKILL: it sends nothing and hears nothing any more.
    pub fn kill(self) -> Pod {
        self.client.crash();
        self.running.abort();
        self.pod
    }

    /// Whether it says that it leads.
    pub fn leads(&self) -> bool {
        self.metrics.text().unwrap().lines().any(|line| line == "pleo_leader 1")
    }
}
