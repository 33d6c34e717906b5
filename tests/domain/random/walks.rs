//! Lives of a connection: long random courses of events, with a strict server that kills everything when a spent token is
//! presented. The real rules decide; the test keeps the books.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use pleo_operator::domain::{
    failure::{Failure, FailureKind, Misconfiguration, Outcome},
    ledger::grant::Which,
    plan::decide::Decision,
    snapshot::ClientSecretState,
};
use proptest::{prelude::*, proptest, sample::select};

use crate::scenes::{PRODUCTION, STAGING, Scene, at, invalid_grant, pair, server, with_secret};

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The server answers as it should.
    Answers,
    /// It rotates, and the answer is lost.
    AnswerLost,
    /// The request is lost before the server sees it, and nobody can tell.
    RequestLost,
    NotSent,
    Throttled,
    WrongClient,
    /// It revokes the authorization.
    Revokes,
    /// Somebody consents, and puts the token there.
    Consents,
    /// Somebody puts the very first token there again.
    PutsBack,
    /// Somebody copied a token that was refused since, and puts it there.
    PutsBackRefused,
    MendsClient,
    SwitchesClient,
    SwitchesBack,
    EditsSpec,
    Asks,
    MovesToStaging,
    MovesBack,
    Suspends,
    Resumes,
}

/// A strict server: every token once, and a spent one kills all of its family.
#[derive(Default)]
struct Server {
    issued: u32,
    /// Each token that is good, and the client that it was issued to.
    alive: BTreeMap<String, String>,
    spent: BTreeSet<String>,
}

impl Server {
    fn consent(&mut self, client_id: &str) -> String {
        self.issued += 1;
        let token = format!("refresh-{}", self.issued);
        self.alive.insert(token.clone(), client_id.to_owned());
        token
    }

    fn exchange(&mut self, token: &str, client_id: &str) -> Outcome {
        match self.alive.get(token) {
            Some(owner) if owner == client_id => {
                self.alive.remove(token);
                self.spent.insert(token.to_owned());
                let name = self.consent(client_id);
                pair(name.trim_start_matches("refresh-"))
            }
            // RFC 6749 section 5.2: it was issued to another client.
            Some(_) => invalid_grant(),
            None => {
                self.alive.clear();
                invalid_grant()
            }
        }
    }
}

fn failed(kind: FailureKind) -> Outcome {
    Outcome::Failed(Failure::new(kind, "it failed"))
}

/// The books, by token: who refused it, who gave it, and whether it bought a pair.
#[derive(Default)]
struct Books {
    /// Token, server and client.
    refused: BTreeSet<(String, String, String)>,
    accepted: BTreeMap<String, (String, String)>,
    spent: BTreeSet<String>,
}

fn client_id(scene: &Scene) -> String {
    match &scene.snapshot.client {
        ClientSecretState::Present(client) => client.id.clone(),
        ClientSecretState::Missing(why) => panic!("no client: {why}"),
    }
}

fn live_one_life(events: Vec<(Event, u64)>) -> Result<(), TestCaseError> {
    let (mut scene, mut pleo, mut books) = (Scene::new(), Server::default(), Books::default());
    let mut request = 0;
    let mut clients = 0;
    for (event, pause) in events {
        scene.go_to(scene.now + SignedDuration::from_secs(i64::try_from(pause).unwrap()));
        match event {
            Event::Consents => {
                // The token belongs to the server that the spec names; the other one is not asked here.
                let token = pleo.consent(&client_id(&scene));
                scene = scene.consent(&token);
            }
            Event::PutsBack => scene = scene.consent("refresh-1"),
            Event::PutsBackRefused => {
                if let Some((token, ..)) = books.refused.first() {
                    scene = scene.consent(token);
                }
            }
            Event::MendsClient => {
                clients += 1;
                scene.snapshot.client = ClientSecretState::Present(with_secret(&format!("secret-{clients}")));
            }
            Event::SwitchesClient => scene = scene.client("another-client"),
            Event::SwitchesBack => scene = scene.client("acme-client"),
            Event::EditsSpec => scene.snapshot.spec.generation += 1,
            Event::Asks => {
                request += 1;
                scene.snapshot.spec.refresh_request = Some(format!("request-{request}"));
            }
            Event::MovesToStaging => scene.snapshot.spec.server = Ok(server(STAGING)),
            Event::MovesBack => scene.snapshot.spec.server = Ok(server(PRODUCTION)),
            Event::Suspends => scene.snapshot.spec.suspend = true,
            Event::Resumes => scene.snapshot.spec.suspend = false,
            Event::Revokes => pleo.alive.clear(),
            Event::Answers
            | Event::AnswerLost
            | Event::RequestLost
            | Event::NotSent
            | Event::Throttled
            | Event::WrongClient => {}
        }
        exchange_if_due(&mut scene, event, &mut pleo, &mut books)?;
        check_pods(&mut scene)?;
    }
    Ok(())
}

fn exchange_if_due(scene: &mut Scene, event: Event, pleo: &mut Server, books: &mut Books) -> Result<(), TestCaseError> {
    let Decision::Rotate(rotation) = scene.rest() else { return Ok(()) };
    let grant = scene.grant();
    let (token, outcome_unknown) = match rotation.which {
        Which::Code => unreachable!("nobody consents by link here"),
        Which::Candidate => grant.candidate.as_ref().map(|held| (&held.token, held.attempts.outcome_unknown)),
        Which::Current => {
            grant.current.as_ref().map(|held| (&held.refresh.token, held.refresh.attempts.outcome_unknown))
        }
    }
    .expect("what is sent is held");
    let token = token.expose().to_owned();
    let to = scene.snapshot.spec.token_url().expect("a server").as_str().to_owned();
    let id = client_id(scene);
    prop_assert!(!books.refused.contains(&(token.clone(), to.clone(), id.clone())), "I3: {token} was refused");
    prop_assert!(!books.spent.contains(&token), "I1: {token} was answered with a new pair");
    let home = (to.clone(), id.clone());
    prop_assert_eq!(books.accepted.get(&token).unwrap_or(&home), &home, "I8");
    let outcome = match event {
        Event::AnswerLost => {
            let _ = pleo.exchange(&token, &id);
            failed(FailureKind::OutcomeUnknown)
        }
        Event::RequestLost => failed(FailureKind::OutcomeUnknown),
        Event::NotSent => failed(FailureKind::NotSent),
        Event::Throttled => failed(FailureKind::Throttled),
        Event::WrongClient => failed(FailureKind::Misconfigured(Misconfiguration::Client)),
        _ => pleo.exchange(&token, &id),
    };
    match &outcome {
        Outcome::Issued(issued) => {
            books.spent.insert(token);
            let next = issued.refresh.as_ref().expect("every answer rotates").expose().to_owned();
            books.accepted.insert(next, home);
        }
        Outcome::Failed(failure) => {
            if matches!(failure.kind, FailureKind::Rejected(_)) {
                prop_assert!(
                    outcome_unknown || !pleo.spent.contains(&token),
                    "{token} was spent, and nobody was in doubt"
                );
                books.refused.insert((token, to, id));
            }
        }
    }
    scene.exchange(outcome);
    Ok(())
}

/// I4: pods have the access token of the grant, or none; its number never goes back.
fn check_pods(scene: &mut Scene) -> Result<(), TestCaseError> {
    scene.rest();
    let Some(grant) = scene.snapshot.grant.ours() else { return Ok(()) };
    let content = scene.content();
    prop_assert_eq!(content.rotation, grant.value.rotation);
    let access = grant.value.current.as_ref().and_then(|current| current.access.as_ref());
    prop_assert_eq!(content.access.as_ref().map(|access| &access.token), access);
    Ok(())
}

fn events(also: &[Event]) -> impl Strategy<Value = Vec<(Event, u64)>> {
    use Event::*;
    let mut all = vec![
        Answers,
        Answers,
        Answers,
        AnswerLost,
        RequestLost,
        NotSent,
        Throttled,
        WrongClient,
        Revokes,
        Consents,
        PutsBack,
        MendsClient,
        EditsSpec,
        Asks,
        Suspends,
        Resumes,
    ];
    all.extend(also);
    let pause = select(&[1_u64, 5, 30, 60, 300, 850, 900, 4000]);
    prop::collection::vec((select(all), pause), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    /// I1, I3, I4 over a whole life on one server.
    #[test]
    fn whatever_happens_no_spent_and_no_refused_token_is_sent(events in events(&[])) {
        live_one_life(events)?;
    }

    /// I3, also where a refused token was copied and is put back at any time.
    #[test]

    fn whatever_happens_a_refused_token_that_is_put_back_is_not_sent(events in events(&[Event::PutsBackRefused])) {
        live_one_life(events)?;
    }

    /// I3 and I8, where the client Secret changes between two clients.
    #[test]
    fn whatever_happens_a_token_stays_with_its_client(
        events in events(&[Event::SwitchesClient, Event::SwitchesBack, Event::SwitchesBack, Event::PutsBackRefused])
    ) {
        live_one_life(events)?;
    }

    /// And I8, where the spec moves between two servers.
    #[test]
    fn whatever_happens_a_token_stays_with_its_server(events in events(&[Event::MovesToStaging, Event::MovesBack, Event::MovesBack])) {
        live_one_life(events)?;
    }
}

/// I7: with a healthy server a connection that nobody has to mend comes back by itself.
#[test]
fn a_healthy_server_brings_a_connection_back_by_itself() {
    use Event::{AnswerLost, Answers, NotSent, RequestLost, Throttled};
    for trouble in [NotSent, Throttled, RequestLost] {
        let (mut scene, mut pleo, mut books) = (Scene::new(), Server::default(), Books::default());
        scene = scene.consent(&pleo.consent("acme-client"));
        for _ in 0..20 {
            exchange_if_due(&mut scene, trouble, &mut pleo, &mut books).unwrap();
            if let Decision::Wait(wait) = scene.rest() {
                scene.go_to(wait.until.expect("it tries again"));
            }
        }
        exchange_if_due(&mut scene, Answers, &mut pleo, &mut books).unwrap();
        while scene.content().access.is_none() {
            match scene.rest() {
                Decision::Wait(wait) => scene.go_to(wait.until.expect("it tries again")),
                _ => exchange_if_due(&mut scene, Answers, &mut pleo, &mut books).unwrap(),
            }
        }
        assert!(scene.now < at(86_400));
    }
    // What nobody can avoid: the pair existed only on the wire.
    let (mut scene, mut pleo, mut books) = (Scene::new(), Server::default(), Books::default());
    scene = scene.consent(&pleo.consent("acme-client"));
    exchange_if_due(&mut scene, AnswerLost, &mut pleo, &mut books).unwrap();
    scene = scene.at(100);
    exchange_if_due(&mut scene, Answers, &mut pleo, &mut books).unwrap();
    let reason = scene.grant().last_rejection.as_ref().expect("refused").reason;
    assert_eq!(reason, pleo_operator::domain::ledger::grant::RejectionReason::RotationLost);
}
