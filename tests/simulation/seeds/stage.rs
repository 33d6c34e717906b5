//! The story of one seed. Trouble first; then calm, in which all must heal that needs nobody; then people do what the
//! conditions tell them to, and all the rest must heal; and then nothing happens that is not due.

use std::{sync::Arc, time::Duration};

use pleo_operator::{
    domain::{possession::proof, token::AccessToken},
    reports::limits::Target,
};
use tokio::{
    runtime::Runtime,
    time::{Instant, sleep_until},
};

use super::{
    host::{Host, paused_runtime},
    judge::{Figures, Judge, Verdict},
    people::{self, People},
    plan::Plan,
    transcript::Transcript,
    trouble::Trouble,
    visits::{Visitor, Visits},
};
use crate::{
    apiserver::{Faults, Rng},
    links::browser::PUBLIC,
    stage::{
        pleo::introspection::Introspection,
        process::Pod,
        world::{NAMESPACE, World, minutes, seconds},
    },
};

/// How long calm may take to heal what heals by itself: a wait of a quarter of an hour, a claim's, and some more.
const PATIENCE: Duration = minutes(40);
/// How often people look again, and do what it says then.
const ROUNDS: usize = 3;
/// How long all must stand before it is believed.
const STANDS: Duration = minutes(2);
/// What a rotation may take.
const MOMENT: Duration = seconds(5);

pub struct Stage {
    pub world: Arc<World>,
    pub hosts: [Host; 2],
    pub people: People,
    pub visits: Visits,
    pub transcript: Transcript,
    pub now: Duration,
    pub plan: Plan,
    rng: Rng,
    servers: Runtime,
    began: Instant,
    next_collection: Duration,
    busy: bool,
    seen_requests: usize,
}

/// What is left of a seed when it is over.
pub struct Played {
    pub verdict: Verdict,
    pub transcript: String,
}

impl Played {
    /// The simulation itself broke, and said why on standard error.
    pub fn backoff_after_error() -> Self {
        let violations = vec!["the story broke off by a panic".to_owned()];
        Self { verdict: Verdict { violations, figures: Figures::default(), fingerprint: 0 }, transcript: String::new() }
    }
}

/// Plays one seed from its beginning to its end. Call it in a thread of its own.
pub fn play(seed: u64) -> Played {
    fastrand::seed(seed);
    let transcript = Transcript::default();
    let log = tracing_subscriber::fmt()
        .with_writer(transcript.clone())
        .with_max_level(tracing::Level::INFO)
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .finish();
    let _log = tracing::subscriber::set_default(log);
    let mut stage = Stage::new(seed, transcript.clone());
    let mut judge = Judge::new(&stage);
    stage.trouble(&mut judge);
    stage.calm(&mut judge);
    stage.way_back(&mut judge);
    stage.idle(&mut judge);
    let verdict = judge.verdict(&stage);
    drop(stage);
    Played { verdict, transcript: transcript.text() }
}

impl Stage {
    fn new(seed: u64, transcript: Transcript) -> Self {
        let plan = Plan::from_seed(seed);
        transcript.note(Duration::ZERO, "plan", format!("{plan:?}"));
        let servers = paused_runtime();
        let (world, people, began) = servers.block_on(async {
            let began = Instant::now();
            let (world, mut people) = (World::from_seed(seed).await, People::new(seed));
            for connection in &plan.connections {
                people.set_up(&world, connection).await;
            }
            // Mostly an endpoint that says the truth; now and then one that is no use from the beginning.
            world.pleo.set_introspection(match seed % 8 {
                1 => Introspection::AlwaysInactive,
                3 => Introspection::Absent,
                5 => Introspection::Silent,
                _ => Introspection::Truthful,
            });
            world.pleo.allow_redirect(&format!("{PUBLIC}/callback"));
            (Arc::new(world), people, began)
        });
        let hosts = ["pod-a", "pod-b"].map(|name| {
            let pod = servers.block_on(async { Pod::new(&world, name) });
            let lease = if plan.two_leaders { format!("lease-of-{name}") } else { pod.lease.clone() };
            let public = plan.links.then(|| PUBLIC.parse().expect("an address"));
            Host::new(Pod { lease, lease_duration: plan.lease, public, ..pod })
        });
        for (host, skew) in hosts.iter().zip(plan.skews) {
            host.pod.clock.jump(skew);
        }
        world.server.set_faults(plan.faults.clone());
        let rng = Rng::new(seed ^ 0x57a6e);
        Self {
            now: seconds(1),
            next_collection: seconds(5),
            busy: true,
            seen_requests: 0,
            world,
            hosts,
            people,
            visits: Visits::default(),
            transcript,
            plan,
            rng,
            servers,
            began,
        }
    }

    /// A moment passes: at the servers, then on each node, and the judge looks at it.
    fn step(&mut self, judge: &mut Judge) {
        let moment = if self.busy { self.rng.millis_up_to(50) } else { self.rng.millis_up_to(600) };
        let until = self.now + Duration::from_millis(5) + moment;
        self.transcript.turn(until, "server");
        let moment = self.began + until;
        self.servers.block_on(async { sleep_until(moment).await });
        for host in &mut self.hosts {
            self.transcript.turn(until, &host.pod.name.clone());
            host.turn(&self.world, self.now, until);
        }
        self.now = until;
        if self.next_collection <= self.now {
            self.next_collection = self.now + seconds(1 + self.rng.below(15));
            for key in self.world.server.collect_garbage() {
                self.transcript.note(self.now, "cluster", format!("collects {} {}", key.resource, key.name));
            }
        }
        let requests = self.world.server.requests();
        self.busy = requests != std::mem::replace(&mut self.seen_requests, requests);
        judge.look(self);
    }

    fn steps_until(&mut self, judge: &mut Judge, until: Duration) {
        while self.now < until {
            self.step(judge);
        }
    }

    /// Somebody does something: at the servers, where nothing goes wrong.
    pub fn act(&mut self, who: &str, what: &str, deed: impl AsyncFnOnce(&World, &mut People)) {
        self.transcript.note(self.now, who, what);
        let (world, people) = (&self.world, &mut self.people);
        self.servers.block_on(deed(world, people));
    }

    /// A human opens the link of a connection at one replica, if there is one and it is up.
    pub fn visit(&mut self, name: &str, node: usize, thinks: Duration) -> bool {
        let link = self.world.status(name)["authorizationURL"].as_str().map(str::to_owned);
        let (Some(link), Some(pages)) = (link, self.hosts[node].pages()) else { return false };
        self.transcript.note(self.now, "human", format!("{name}: opens the link at {}", self.hosts[node].pod.name));
        let visitor = Visitor { name: name.to_owned(), link, thinks, transcript: self.transcript.clone() };
        self.hosts[node].spawn(self.visits.clone().visit(Arc::clone(&self.world), pages, visitor));
        true
    }

    /// Who has the token of a connection reports it at one replica that is up.
    pub fn report(&mut self, name: &str, node: usize) {
        let token = self.world.secret(&people::token_secret(&self.world, name), "access_token");
        let (Some(token), Some(intake)) = (token, self.hosts[node].intake()) else { return };
        self.transcript.note(self.now, "client", format!("{name}: reports its token at {}", self.hosts[node].pod.name));
        let target = Target { namespace: NAMESPACE.to_owned(), name: name.to_owned() };
        self.hosts[node].spawn(async move {
            if let Some(_turn) = intake.admit([10, 0, 0, 1].into(), &target) {
                intake.take(&target, &proof(&AccessToken::new(token))).await;
            }
        });
    }

    fn trouble(&mut self, judge: &mut Judge) {
        let mut trouble = Trouble::of(&self.plan);
        let end = self.plan.trouble;
        while self.now < end {
            trouble.befall(self);
            self.step(judge);
            self.come_back();
        }
        trouble.end(self);
    }

    /// Deleted connections are declared again.
    fn come_back(&mut self) {
        let now = self.now;
        if self.people.expects_somebody_back() {
            let (world, people) = (&self.world, &mut self.people);
            let back = self.servers.block_on(people.come_back(world, now));
            if let Some(what) = back {
                self.transcript.note(now, "people", what);
            }
        }
    }

    /// Nothing goes wrong any more, and people mend what only they can mend but consents.
    fn calm(&mut self, judge: &mut Judge) {
        self.transcript.note(self.now, "stage", "--- calm: all must heal that needs nobody");
        self.world.server.set_faults(Faults::default());
        self.world.server.refuse_nothing();
        while self.people.expects_somebody_back() {
            self.step(judge);
            self.come_back();
        }
        let names: Vec<&str> = self.plan.connections.iter().map(|connection| connection.name).collect();
        self.act("people", "mend the client Secret, resume", async |world, _| {
            people::mend_client(world).await;
            for name in &names {
                people::edit(world, name, serde_json::json!({"suspend": false})).await;
            }
        });
        self.until_all_stands(judge);
        judge.after_calm(self);
    }

    /// Until all connections have been as they should be for some time. A rotation takes a moment, in which no token works.
    fn until_all_stands(&mut self, judge: &mut Judge) {
        let end = self.now + PATIENCE;
        let (mut stood, mut fallen, mut next) = (None, None, self.now);
        while self.now < end {
            self.step(judge);
            if self.now < next {
                continue;
            }
            next = self.now + seconds(1);
            if self.plan.connections.iter().all(|connection| judge.is_settled(self, connection.name)) {
                let since = *stood.get_or_insert(self.now);
                fallen = None;
                if self.now >= since + STANDS {
                    return;
                }
            } else if *fallen.get_or_insert(self.now) + MOMENT < self.now {
                stood = None;
            }
        }
    }

    /// People do what the conditions say. What they do may bring to light that something else is wrong, too.
    fn way_back(&mut self, judge: &mut Judge) {
        let names: Vec<&str> = self.plan.connections.iter().map(|connection| connection.name).collect();
        for _ in 0..ROUNDS {
            let waiting: Vec<&str> = names.iter().copied().filter(|name| !Judge::is_well(self, name)).collect();
            if waiting.is_empty() {
                break;
            }
            for name in waiting {
                self.do_what_it_says(name);
            }
            // Before that, the old words stand.
            let moment = self.now + seconds(30);
            self.steps_until(judge, moment);
            self.until_all_stands(judge);
        }
        judge.after_way_back(self);
    }

    fn do_what_it_says(&mut self, name: &str) {
        let ready = self.world.condition(name, "Ready");
        let halted = ["RetriesExhausted", "InvalidClient", "InvalidRequest"];
        if halted.iter().any(|reason| ready.ends_with(reason)) {
            let what = format!("ask {name} for a refresh, since it is {ready}");
            self.act("people", &what, async |world, people| people.request_refresh(world, name).await);
        } else if self.plan.links && self.rng.one_in(2) && self.visit(name, 0, seconds(3)) {
            // He comes by link.
        } else {
            let what = format!("consent for {name}, since it is {ready}");
            self.act("people", &what, async |world, people| people.consent(world, name).await);
        }
    }

    /// Nothing happens that is not due.
    fn idle(&mut self, judge: &mut Judge) {
        self.transcript.note(self.now, "stage", "--- idle: nothing happens that is not due");
        judge.idle_begins(self);
        let end = self.now + minutes(10);
        self.steps_until(judge, end);
        judge.after_idle(self);
    }
}
