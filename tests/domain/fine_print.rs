//! Fine print: rules that hang on one word of the code, and that mutation testing found unguarded.

use pleo_operator::{
    api::{PleoConnectionStatus, ReadyReason, RestartTarget, WorkloadKind},
    domain::{
        commit::settlement::settle,
        failure::{Failure, Misconfiguration, Outcome, RejectionCode},
        ledger::{
            grant::{Grant, Holder, RejectionReason},
            known_token::KnownToken,
        },
        plan::{
            adoption,
            decide::Decision,
            restarts::Tried,
            schedule::{CLOCK_TOLERANCE, lies_ahead},
        },
        report::{problem, status},
        snapshot::{GrantSecret, InitialGrant, LastReported, Sharing, Snapshot, TokenSecret},
        spec::SpecProblem,
        time::later,
    },
};

use super::scenes::{
    PRODUCTION, Scene, accepted, at, candidate, current, ending, fingerprint, known, no_connection, our_id, pair,
    rejection, reply, secs, token_url, written,
};

/// Dashboards rely on these words.
#[test]
fn each_outcome_has_its_label() {
    use pleo_operator::domain::failure::FailureKind as K;
    let failed = |kind| Outcome::Failed(Failure::new(kind, "why")).label();
    assert_eq!(pair("1").label(), "success");
    assert_eq!(
        (failed(K::NotSent), failed(K::Throttled), failed(K::OutcomeUnknown)),
        ("not_sent", "throttled", "unknown")
    );
    assert_eq!(failed(K::Misconfigured(Misconfiguration::Client)), "misconfigured");
    assert_eq!(failed(K::Rejected(RejectionCode::InvalidGrant)), "rejected");
}

#[test]
fn a_holder_is_told_by_both_its_names() {
    let holder = Holder { identity: "pod-a".into(), process: "7".into() };
    assert_eq!(holder.to_string(), "pod-a_7");
}

#[test]
fn a_grant_remembers_what_it_holds_what_it_adopted_and_what_was_refused_and_nothing_else() {
    let mut grant = Grant::new("uid", 1);
    grant.current = Some(current("refresh-1", PRODUCTION, at(0), secs(900)));
    grant.history.push(accepted("consent-1", PRODUCTION, 1));
    grant.last_rejection = Some(rejection("refresh-0", RejectionReason::GrantRefused));
    let knows = |text: &str| grant.remembers(&fingerprint(text));
    assert!(knows("refresh-1") && knows("consent-1") && knows("refresh-0"));
    assert!(!knows("refresh-2"));
}

#[test]
fn a_grant_is_ours_by_its_uid() {
    let scene = Scene::living();
    let grant = &scene.snapshot.grant;
    assert!(matches!(grant.clone().as_seen_by(&scene.snapshot.spec.uid), GrantSecret::Ours(_)));
    assert!(matches!(grant.clone().as_seen_by("another"), GrantSecret::Stale(_)));
}

/// A consent that a newer one replaced before it was tried is old news at its server.
#[test]
fn a_consent_that_was_dropped_is_not_taken_again() {
    let mut scene = Scene::living().at(100).consent("consent-2");
    assert!(matches!(scene.rest(), Decision::Rotate(_)));
    let mut scene = scene.consent("consent-3");
    assert!(matches!(scene.rest(), Decision::Rotate(_)));
    let scene = scene.consent("consent-2");
    let InitialGrant::Present(_) = &scene.snapshot.initial else { panic!("a consent") };
    let Snapshot { initial, grant, client, .. } = &scene.snapshot;
    assert!(adoption::news(initial, grant, &token_url(PRODUCTION), client).is_none());
}

#[test]
fn a_refusal_is_noted_for_its_own_consent_only() {
    let mut grant = Grant::new("uid", 1);
    grant.history = vec![accepted("consent-1", PRODUCTION, 1), known("consent-2", PRODUCTION)];
    grant.candidate = Some(candidate("consent-2", PRODUCTION));
    grant.drop_candidate(Some(&our_id()));
    let refused: Vec<bool> = grant.history.iter().map(KnownToken::is_rejected).collect();
    assert_eq!(refused, [false, true]);
}

/// I2: somebody else presented our spent consent, and its refusal was stored first. Our pair is the living one, whatever was
/// accepted before it.
#[test]
fn a_pair_of_a_consent_that_was_wiped_meanwhile_is_kept() {
    let mut scene = Scene::living().at(100).consent("consent-2").with_grant(|grant| {
        grant.history.push(accepted("consent-1", PRODUCTION, 1));
    });
    let (attempt, started_at) = scene.begin();
    let mut grant = scene.grant().clone();
    (grant.claim, grant.current) = (None, None);
    grant.drop_candidate(Some(&our_id()));
    let grant = written(settle(&grant, &attempt, &ending(pair("2"), started_at, at(130))));
    assert_eq!(grant.current.unwrap().refresh.token.expose(), "refresh-2");
}

/// An answer with a refresh token alone is a failure like the others: the row goes on, with the new token.
#[test]
fn a_row_of_failures_goes_on_without_an_access_token() {
    let mut scene = Scene::living().at(850);
    scene.exchange(no_connection());
    let since = scene.grant().current.as_ref().unwrap().refresh.attempts.failing_since;
    let mut scene = scene.at(860);
    scene.exchange(reply(200, r#"{"refresh_token":"refresh-8"}"#));
    let attempts = &scene.grant().current.as_ref().unwrap().refresh.attempts;
    assert_eq!((attempts.failures, attempts.failing_since), (2, since));
}

/// Pods keep the old token Secret until the new one stands.
#[test]
fn an_old_token_secret_stays_while_there_is_no_new_one() {
    let mut scene = Scene::living().seeing(|seen| {
        seen.token = TokenSecret::Absent;
        seen.retired = Some("old-name".into());
        seen.spec.server = Err(SpecProblem::NotAllowed("https://x.example.com".into()));
    });
    assert!(matches!(scene.rest(), Decision::Wait(_)));
    assert!(scene.done.is_empty());
}

#[test]
fn what_a_status_tells_is_read_back() {
    let numbers =
        |rotation, rejected_rotation| PleoConnectionStatus { rotation, rejected_rotation, ..Default::default() };
    let told = |rotation, rejected_rotation| LastReported { rotation, rejected_rotation };
    assert_eq!(LastReported::by_status(&numbers(Some(7), Some(6))), told(7, Some(6)));
    assert_eq!(LastReported::by_status(&numbers(None, None)), told(0, None));
    assert_eq!(LastReported::by_status(&numbers(Some(-1), Some(-1))), told(0, None), "somebody edited it");
}

/// The numbers go on where the grant is gone, and never back.
#[test]
fn what_was_told_stays_told_without_a_grant() {
    let told = |rotation, rejected_rotation| {
        let scene = Scene::new().seeing(|seen| seen.reported = LastReported { rotation, rejected_rotation });
        let before = PleoConnectionStatus { rotation: Some(3), ..Default::default() };
        let after = scene.status_after(&before);
        (after.rotation, after.rejected_rotation)
    };
    assert_eq!(told(7, Some(7)), (Some(7), Some(7)));
    assert_eq!(told(0, None), (Some(3), None));
    let dead = Scene::dead(RejectionReason::GrantRefused).seeing(|seen| {
        seen.reported = LastReported { rotation: 7, rejected_rotation: Some(7) };
    });
    assert_eq!(dead.status().rejected_rotation, Some(7));
}

#[test]
fn the_token_secret_is_named_when_it_is_the_only_one() {
    let named = |scene: Scene| {
        let before = PleoConnectionStatus { secret_name: Some("old-name".into()), ..Default::default() };
        scene.status_after(&before).secret_name.unwrap()
    };
    assert_eq!(named(Scene::living()), "acme-token");
    assert_eq!(named(Scene::living().seeing(|seen| seen.retired = Some("old-name".into()))), "old-name");
    assert_eq!(named(Scene::living().seeing(|seen| seen.token = TokenSecret::Absent)), "old-name");
}

#[test]
fn another_reason_is_another_transition() {
    let (waits, dead) = (Scene::new().status(), Scene::dead(RejectionReason::GrantRefused).status());
    let (a, b) = (&waits.conditions[1], &dead.conditions[1]);
    assert!(a.status == b.status && a.reason != b.reason, "both need a human");
    let reasons: Vec<_> = status::transitions(&waits, &dead).into_iter().map(|told| told.reason).collect();
    assert!(reasons.contains(&"GrantRefused".to_owned()), "{reasons:?}");
}

/// While Secrets cannot be read, what was told last holds until the token ends; and then no more.
#[test]
fn a_status_without_secrets_keeps_what_is_still_true() {
    let before = Scene::living().status();
    let told = |seconds| status::without_secrets(&before, 5, "secrets is forbidden", at(seconds));
    let ready = |status: &PleoConnectionStatus| {
        let ready = &status.conditions[0];
        (ready.type_.clone(), ready.status.clone(), ready.reason.clone())
    };
    let word = |texts: (&str, &str, &str)| (texts.0.to_owned(), texts.1.to_owned(), texts.2.to_owned());
    for seconds in [0, 899] {
        assert_eq!(ready(&told(seconds)), word(("Ready", "True", "Refreshed")), "{seconds}");
    }
    for seconds in [900, 901] {
        assert_eq!(ready(&told(seconds)), word(("Ready", "False", "StorageRefused")), "{seconds}");
    }
    let status = told(100);
    let kinds: Vec<_> = status.conditions.iter().map(|told| (told.type_.as_str(), told.reason.as_str())).collect();
    assert_eq!(kinds, [("Ready", "Refreshed"), ("ReauthRequired", "GrantValid"), ("Stalled", "StorageRefused")]);
    assert!(status.conditions.iter().all(|told| told.observed_generation == Some(5)));
    assert!(status.conditions[0].message.contains("secrets is forbidden"));
    assert_eq!((status.observed_generation, &status.next_refresh_time), (Some(5), &None));
    assert_eq!((status.rotation, &status.secret_name), (before.rotation, &before.secret_name));
    assert!(status::tells_of_refused_storage(&status) && !status::tells_of_refused_storage(&before));
    let blank = status::without_secrets(&PleoConnectionStatus::default(), 1, "no", at(0));
    assert_eq!(blank.conditions[1].reason, "NotTried");
}

/// That nobody can tell whether a consent is shared is a matter of rights, and is said.
#[test]
fn what_cannot_be_checked_is_told() {
    let mut scene = Scene::new().consent("consent-1");
    let InitialGrant::Present(token) = &mut scene.snapshot.initial else { panic!("a consent") };
    token.sharing = Sharing::Unchecked("secrets is forbidden".into());
    let problems = problem::problems(&scene.snapshot, None, scene.now);
    let refused = problems.iter().find(|problem| problem.reason == ReadyReason::StorageRefused).expect("told");
    assert!(refused.message.contains("secrets is forbidden"));
}

#[test]
fn nothing_is_noted_of_restarts_that_were_not_tried() {
    let one = || vec![RestartTarget { kind: WorkloadKind::Deployment, name: "web".into() }];
    assert!(Tried { done: vec![], perhaps: vec![] }.is_nothing());
    assert!(!Tried { done: one(), perhaps: vec![] }.is_nothing());
    assert!(!Tried { done: vec![], perhaps: one() }.is_nothing());
}

#[test]
fn a_clock_may_be_ten_seconds_ahead() {
    let edge = later(at(0), CLOCK_TOLERANCE);
    assert!(!lies_ahead(edge, at(0)) && lies_ahead(later(edge, secs(1)), at(0)));
}

/// The list keeps people who may edit connections from having Secrets posted elsewhere.
#[test]
fn an_allowed_server_is_scheme_host_and_port() {
    use pleo_operator::domain::spec::AllowedServer;
    let read = |text: &str| text.parse::<AllowedServer>();
    assert_eq!(read("https://auth.example.com"), read("https://auth.example.com:443/"));
    assert_ne!(read("https://auth.example.com:8443"), read("https://auth.example.com"));
    for wrong in [
        "http://auth.example.com",
        "https://auth.example.com/oauth",
        "https://auth.example.com/?x=1",
        "https://auth.example.com/#x",
        "https://user@auth.example.com",
        "https://",
        "auth.example.com",
    ] {
        let error = read(wrong).expect_err(wrong);
        assert!(error.contains("write scheme, host and port"), "{error}");
    }
}

/// Pleo's two servers, and nobody else, where no list is given.
#[test]
fn a_connection_is_read_with_its_defaults() {
    use pleo_operator::{
        api::PleoConnection,
        domain::spec::{AllowedServers, ResolvedSpec},
    };
    let read = |spec: serde_json::Value, allowed: &[&str]| {
        let connection = serde_json::json!({
            "apiVersion": "pleo.io/v1alpha1", "kind": "PleoConnection", "metadata": {"name": "acme"}, "spec": spec,
        });
        let connection: PleoConnection = serde_json::from_value(connection).expect("a connection");
        ResolvedSpec::read(
            &connection,
            &AllowedServers::new(allowed.iter().map(|server| server.parse().unwrap()).collect()),
        )
    };
    let plain = serde_json::json!({"client": {"secretRef": {"name": "c"}}});
    let spec = read(plain.clone(), &[]);
    assert_eq!(spec.retry_timeout, secs(72 * 3600));
    assert_eq!(spec.token_url().unwrap().as_str(), PRODUCTION);
    assert_eq!(read(plain, &["https://auth.example.com"]).token_url(), None);
    let elsewhere =
        |url: &str| serde_json::json!({"client": {"secretRef": {"name": "c"}}, "server": {"tokenURL": url}});
    let url = "https://auth.example.com:8443/oauth/token";
    assert_eq!(read(elsewhere(url), &[]).token_url(), None);
    let told = read(elsewhere(url), &[]).server.unwrap_err().to_string();
    assert!(told.contains("--allowed-server https://auth.example.com:8443"), "{told}");
    assert_eq!(read(elsewhere(url), &["https://auth.example.com:8443"]).token_url().unwrap().as_str(), url);
}

/// Jitter is spread over all that lies between 0 and 1, and the same at every look.
#[test]
fn jitter_is_spread_evenly() {
    use pleo_operator::domain::token::fraction;
    let all: Vec<f64> = (0..1000).map(|number| fraction(&["x", &number.to_string()])).collect();
    for tenth in 0..10 {
        let low = f64::from(tenth) / 10.0;
        let count = all.iter().filter(|value| (low..low + 0.1).contains(*value)).count();
        assert!((60..140).contains(&count), "{count} of 1000 in the tenth from {low}");
    }
    assert_eq!(fraction(&["x", "1"]).to_bits(), fraction(&["x", "1"]).to_bits());
}

#[test]
fn tokens_are_told_apart_by_what_they_are() {
    use std::collections::HashSet;

    use pleo_operator::domain::token::RefreshToken;
    let (one, other) = (RefreshToken::new("one"), RefreshToken::new("other"));
    assert!(one == RefreshToken::new("one") && one != other);
    assert_eq!(HashSet::from([one.clone(), one.clone(), other.clone()]).len(), 2);
    assert_eq!(one.fingerprint().to_string(), one.fingerprint().as_str());
    assert_eq!(one.fingerprint().as_str().len(), 40);
    assert_eq!(format!("{one:?}"), "[redacted]");
}
