//! Consent by link: one click brings a dead connection back, whichever replica serves which step, and whatever dies on the
//! way. A code is sent once (I1), a pair that it bought is kept (I2), and every visit ends on a page that says how (X5).

use std::time::Duration;

use pleo_sandbox::script::Step;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    apiserver::{Faults, Rng},
    links::browser::{Browser, PUBLIC, Seen},
    stage::{
        process::{Pod, Process},
        world::{World, hours, minutes, seconds},
    },
};

/// A connection whose consent was taken back, and the process that looks after it.
pub async fn dead_acme() -> (World, Process) {
    let (world, process) = World::with_acme_on(minutes(15), |pod| pod.with_pages(PUBLIC)).await;
    world.pleo.allow_redirect(&format!("{PUBLIC}/callback"));
    assert_eq!(link(&world), None, "nobody is needed");
    world.pleo.revoke("acme");
    world.request_refresh("acme", "now").await;
    world.until("there is a link", |world| link(world).is_some()).await;
    assert_eq!(world.condition("acme", "ReauthRequired"), "True GrantRefused");
    (world, process)
}

pub fn link(world: &World) -> Option<String> {
    world.status("acme")["authorizationURL"].as_str().map(str::to_owned)
}

fn is_back(world: &World) -> bool {
    world.is_ready("acme") && world.token_works("acme")
}

#[tokio::test(start_paused = true)]
async fn one_click_brings_a_dead_connection_back() {
    let (world, process) = dead_acme().await;
    let (pages, mut human) = (process.pages.clone().unwrap(), Browser::default());
    let exchanges = world.pleo.counters("acme").exchanges;
    let there = human.open(&pages, &link(&world).unwrap()).await;
    let callback = world.pleo.allow(&there, "acme");
    let end = human.come_back(&pages, &callback).await;
    assert_eq!((end.status, end.title()), (200, "Connected"));
    sleep(seconds(5)).await;
    assert!(is_back(&world) && link(&world).is_none());
    assert_eq!(world.condition("acme", "ReauthRequired"), "False GrantValid");
    assert_eq!(world.pleo.counters("acme").exchanges, exchanges + 1);
    sleep(hours(6)).await;
    assert!(is_back(&world), "and it is refreshed like any other");
    assert_eq!(world.pleo.counters("acme").resent, 0);
}

/// The one that does not lead serves every page, and the leader exchanges the code.
#[tokio::test(start_paused = true)]
async fn every_replica_serves_every_step() {
    let (world, leader) = dead_acme().await;
    let other = Pod::new(&world, "pod-b").with_pages(PUBLIC).start(&world);
    let (here, there) = (leader.pages.clone().unwrap(), other.pages.clone().unwrap());
    for order in [[&there, &there, &there], [&here, &there, &here], [&there, &here, &there]] {
        world.pleo.revoke("acme");
        world.request_refresh("acme", &format!("{:?}", world.server.elapsed())).await;
        world.until("there is a link", |world| link(world).is_some()).await;
        let mut human = Browser::default();
        let consent = human.open(order[0], &link(&world).unwrap()).await;
        let result = human.get(order[1], &world.pleo.allow(&consent, "acme")).await.location.expect("a result");
        assert_eq!(human.get(order[2], &result).await.title(), "Connected");
        sleep(seconds(5)).await;
        assert!(is_back(&world));
    }
    assert!(leader.leads() && !other.leads());
}

/// X4: all that was configured stays, and so does where the human came from.
#[tokio::test(start_paused = true)]
async fn the_human_is_led_on_to_where_he_came_from() {
    let (world, process) = dead_acme().await;
    let (pages, mut human) = (process.pages.clone().unwrap(), Browser::default());
    let before = world.connection("acme")["spec"].clone();
    let onward = "https://app.example.com/finance?tab=1&x=%3Cy%3E";
    let mut opened = url::Url::parse(&link(&world).unwrap()).unwrap();
    opened.query_pairs_mut().append_pair("return", onward);
    let there = human.open(&pages, opened.as_str()).await;
    let end = human.come_back(&pages, &world.pleo.allow(&there, "acme")).await;
    assert_eq!((end.title(), end.action().as_deref()), ("Connected", Some(onward)));
    assert_eq!(world.connection("acme")["spec"], before);
}

#[tokio::test(start_paused = true)]
async fn scopes_are_asked_for_as_the_spec_has_them() {
    let (world, process) = dead_acme().await;
    let asked = async |scopes: serde_json::Value| {
        world.edit("acme", json!({"client": {"scopes": scopes}})).await;
        let there = Browser::default().open(process.pages.as_ref().unwrap(), &link(&world).unwrap()).await;
        let there = url::Url::parse(&there).unwrap();
        there.query_pairs().find(|(name, _)| name == "scope").map(|(_, value)| value.into_owned())
    };
    assert_eq!(asked(json!(null)).await, None);
    assert_eq!(asked(json!(["expenses:read", "users:read"])).await.as_deref(), Some("expenses:read users:read"));
}

/// The human says no. Nothing changes, and the same link may be used again.
#[tokio::test(start_paused = true)]
async fn a_no_changes_nothing() {
    let (world, process) = dead_acme().await;
    let (pages, mut human) = (process.pages.clone().unwrap(), Browser::default());
    let there = human.open(&pages, &link(&world).unwrap()).await;
    world.server.reset_trace();
    let no = human.come_back(&pages, &world.pleo.deny(&there)).await;
    assert_eq!((no.status, no.title(), no.action()), (200, "You did not allow it", link(&world)));
    sleep(minutes(1)).await;
    assert_eq!(world.writes(), []);
    let there = human.open(&pages, &no.action().unwrap()).await;
    assert_eq!(human.come_back(&pages, &world.pleo.allow(&there, "acme")).await.title(), "Connected");
}

/// Each failure of the exchange ends on a page that says what to do, with a link that works.
#[tokio::test(start_paused = true)]
async fn a_consent_that_fails_asks_for_another_try() {
    let (world, process) = dead_acme().await;
    let pages = process.pages.clone().unwrap();
    for (step, title) in [
        (Step::error("invalid_grant"), "The server rejected your authorization"),
        (Step::answer_lost(), "The server could not be asked"),
        (Step::request_lost(), "The server could not be asked"),
        (Step::status(503), "The server could not be asked"),
        (Step::status(429), "The server could not be asked"),
        (Step::error("invalid_client"), "The server does not accept the client"),
    ] {
        let mut human = Browser::default();
        let there = human.open(&pages, &link(&world).unwrap()).await;
        let callback = world.pleo.allow(&there, "acme");
        world.pleo.script("acme", [step]);
        let mut end = human.come_back(&pages, &callback).await;
        let again = end.html.contains("/result/");
        assert!(!again && end.title() == title, "{} {}", end.title(), title);
        if end.action().is_none() {
            assert!(end.looks_again(), "a new link is being created");
            sleep(seconds(2)).await;
            end = human.come_back(&pages, &callback).await;
        }
        assert_eq!(end.action(), link(&world), "{title}");
        assert_eq!(world.condition("acme", "ReauthRequired"), "True GrantRefused");
    }
    let mut human = Browser::default();
    let there = human.open(&pages, &link(&world).unwrap()).await;
    assert_eq!(human.come_back(&pages, &world.pleo.allow(&there, "acme")).await.title(), "Connected");
    assert_eq!(world.pleo.counters("acme").resent, 0, "no code was sent twice");
}

/// The pod that has claimed the code dies. The human is told, and tries again.
#[tokio::test(start_paused = true)]
async fn a_death_in_the_middle_of_the_exchange_is_told() {
    let (world, process) = dead_acme().await;
    let other = Pod::new(&world, "pod-b").with_pages(PUBLIC).with_lease("another").start(&world);
    let (pages, mut human) = (other.pages.clone().unwrap(), Browser::default());
    let there = human.open(&pages, &link(&world).unwrap()).await;
    let callback = world.pleo.allow(&there, "acme");
    world.pleo.script("acme", [Step::normal().delayed_after(seconds(20))]);
    let exchanges = world.pleo.counters("acme").exchanges;
    let result = human.get(&pages, &callback).await.location.unwrap();
    world.until("the code was sent", |world| world.pleo.counters("acme").exchanges > exchanges).await;
    process.kill();
    let waiting = human.get(&pages, &result).await;
    assert_eq!((waiting.status, waiting.title(), waiting.looks_again()), (202, "One moment", true));
    sleep(minutes(3)).await;
    let end = human.get(&pages, &result).await;
    assert_eq!((end.title(), end.action()), ("It was interrupted", link(&world)));
    let there = human.open(&pages, &end.action().unwrap()).await;
    assert_eq!(human.come_back(&pages, &world.pleo.allow(&there, "acme")).await.title(), "Connected");
    assert_eq!(world.pleo.counters("acme").resent, 0);
}

/// Nobody leads: the code waits. Whoever leads next cannot know by which clock it came, and lets the server judge.
#[tokio::test(start_paused = true)]
async fn a_code_waits_for_a_leader_and_the_server_says_whether_it_is_too_old() {
    let (world, leader) = dead_acme().await;
    let other = Pod::new(&world, "pod-b").with_pages(PUBLIC).start(&world);
    let (pages, mut human) = (other.pages.clone().unwrap(), Browser::default());
    let leader = leader.kill();
    let there = human.open(&pages, &link(&world).unwrap()).await;
    let result = human.get(&pages, &world.pleo.allow(&there, "acme")).await.location.unwrap();
    let exchanges = world.pleo.exchanged();
    sleep(minutes(10)).await;
    assert_eq!(human.get(&pages, &result).await.title(), "One moment", "the Lease of the simulation is an hour long");
    let _leader = leader.start(&world);
    world.until("somebody leads", |world| link(world).is_some()).await;
    assert_eq!(human.get(&pages, &result).await.title(), "The server rejected your authorization");
    assert_eq!(world.pleo.exchanged(), exchanges + 1);
}

/// How many visits every test run plays; `make consents VISITS=1000` plays more.
const VISITS: u32 = 60;

/// Consents of which each step goes to a replica at random, while both are killed at random, the API server has a bad day and
/// the authorization server does as it likes. Every visit ends in a working grant, or on a page that asks for another try;
/// none half done.
#[tokio::test(start_paused = true)]
async fn consents_while_replicas_die() {
    let visits = std::env::var("VISITS").ok().and_then(|text| text.parse().ok()).unwrap_or(VISITS);
    let world = World::from_seed(7).await;
    world.pleo.allow_redirect(&format!("{PUBLIC}/callback"));
    world.connect("acme", minutes(15)).await;
    let mut crowd = Crowd::new(&world);
    world.until("it is ready", is_back).await;
    world.server.set_faults(Faults { late: 0, ..Faults::storm() });
    for _ in 0..visits {
        crowd.one_visit(&world).await;
    }
    let (counters, connected, deaths) = (world.pleo.counters("acme"), crowd.connected, crowd.deaths);
    assert_eq!(counters.max_presented, 1, "no code and no token was sent twice");
    println!("{visits} visits, {connected} connected, {deaths} deaths, {} exchanges", counters.exchanges);
    assert!(visits / 4 < connected && connected < visits && deaths > visits / 4, "not all went well: {connected}");
}

/// Two replicas, and the dice.
struct Crowd {
    processes: [Option<Process>; 2],
    rng: Rng,
    connected: u32,
    deaths: u32,
}

impl Crowd {
    fn new(world: &World) -> Self {
        let pod = |name| Pod::new(world, name).with_pages(PUBLIC).with_brief_lease().start(world);
        Self { processes: ["pod-a", "pod-b"].map(|name| Some(pod(name))), rng: Rng::new(99), connected: 0, deaths: 0 }
    }

    fn any(&mut self) -> usize {
        usize::from(self.rng.one_in(2))
    }

    /// Kills one of them, if the dice say so, and starts it anew.
    fn maybe_kill(&mut self, world: &World) {
        if self.rng.one_in(3) {
            let one = self.any();
            let pod = self.processes[one].take().expect("a process").kill();
            self.processes[one] = Some(pod.start(world));
            self.deaths += 1;
        }
    }

    async fn wait(&mut self, most: u64) {
        let wait = self.rng.millis_up_to(most);
        sleep(wait).await;
    }

    /// A page from any of the two; a human reloads what does not come.
    async fn get(&mut self, human: &mut Browser, url: &str) -> Seen {
        for _ in 0..50 {
            let one = self.any();
            let pages = self.processes[one].as_ref().and_then(|process| process.pages.clone()).expect("pages");
            let seen = human.get(&pages, url).await;
            if seen.status != 503 {
                return seen;
            }
            sleep(seconds(3)).await;
        }
        panic!("no page for minutes");
    }

    fn trouble_at_the_server(&mut self, world: &World) {
        let delay = self.rng.millis_up_to(30_000);
        let steps = [
            Step::normal().delayed_after(delay),
            Step::normal().delayed_before(delay),
            Step::answer_lost(),
            Step::request_lost(),
            Step::status(503),
            Step::error("invalid_grant"),
        ];
        world.pleo.behave("acme");
        if self.rng.one_in(2) {
            let which = usize::try_from(self.rng.below(steps.len() as u64)).unwrap();
            world.pleo.script("acme", [steps[which].clone()]);
        }
    }

    /// The consent is gone; a human opens the link, consents, and looks at the page until it says how it ended.
    async fn one_visit(&mut self, world: &World) {
        if link(world).is_none() {
            world.pleo.behave("acme");
            world.pleo.revoke("acme");
            world.request_refresh("acme", &format!("{:?}", world.server.elapsed())).await;
            world.until("there is a link", |world| link(world).is_some()).await;
        }
        self.trouble_at_the_server(world);
        let mut human = Browser::default();
        let opened = link(world).expect("a link");
        let seen = self.get(&mut human, &opened).await;
        let Some(there) = seen.location else {
            assert_eq!(seen.status, 410, "the link was replaced meanwhile: {}", seen.title());
            return;
        };
        self.wait(2000).await;
        let callback = world.pleo.allow(&there, "acme");
        self.maybe_kill(world);
        let came_back = self.get(&mut human, &callback).await;
        self.wait(3000).await;
        self.maybe_kill(world);
        let Some(result) = came_back.location else {
            assert!(came_back.action().is_some() || came_back.status == 410, "{}", came_back.title());
            return;
        };
        let end = self.end_of(&mut human, &result).await;
        if end.title() == "Connected" {
            self.connected += 1;
            world.until_within(minutes(10), "what is connected is ready", is_back).await;
        } else {
            assert!(end.status == 200 && !end.html.contains("Connected"), "{} {}", end.status, end.title());
            let goes_on = |world: &World| link(world).is_some() || is_back(world);
            world.until_within(minutes(10), "there is another link, or none is needed", goes_on).await;
        }
    }

    /// Looks again, as the page does by itself, until it says how it ended.
    async fn end_of(&mut self, human: &mut Browser, result: &str) -> Seen {
        let began = Instant::now();
        loop {
            let seen = self.get(human, result).await;
            if seen.status != 202 {
                return seen;
            }
            assert!(began.elapsed() < Duration::from_secs(900), "no end for a quarter of an hour");
            sleep(seconds(2)).await;
        }
    }
}
