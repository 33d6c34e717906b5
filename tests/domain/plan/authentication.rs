//! Which authentication method is used: the one that worked; before any has, a second one only after a certain "not authenticated".

use pleo_operator::{
    api::Authentication,
    domain::{
        commit::settlement::{AttemptResult, settle},
        failure::{Failure, Outcome},
        ledger::{
            authentication::{Experience, Method},
            grant::{Grant, Which},
        },
        plan::authentication::{Methods, Standing, is_unauthenticated, methods, proved},
        token::ClientCredentials,
    },
};

use crate::scenes::{
    PRODUCTION, STAGING, Scene, UID, at, claimed, client, ending, invalid_client, invalid_grant, no_connection, pair,
    reply, silence, token_url, written,
};

fn auto(grant: &Grant, is_probe: bool) -> Methods {
    methods(Authentication::Auto, &client("acme-client"), &token_url(PRODUCTION), grant, is_probe)
}

fn failure(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        Outcome::Issued(_) => panic!("a failure"),
    }
}

/// The grant after an attempt that authenticated so, in one request.
fn after(grant: &Grant, method: Method, methods: Methods, outcome: Outcome) -> Grant {
    let id = format!("after {:?}", grant.last_failure.as_ref().map(|last| &last.attempt));
    let (stored, mut attempt) = claimed(grant, Which::Candidate, &id, at(0));
    attempt.terms.methods = methods;
    let ending = AttemptResult { method, ..ending(outcome, at(0), at(1)) };
    written(settle(&stored, &attempt, &ending))
}

fn fresh() -> Grant {
    Scene::adopted().grant().clone()
}

#[test]
fn before_any_method_has_worked_basic_is_tried_and_then_body() {
    let expected = Methods { first: Method::Basic, fallback: Some(Method::Body), standing: Standing::Untried };
    assert_eq!(auto(&Grant::new(UID, 0), false), expected);
    assert_eq!(auto(&fresh(), false), expected);
}

#[test]
fn the_method_that_worked_is_used_and_no_other() {
    for method in [Method::Basic, Method::Body] {
        let grant = after(&fresh(), method, auto(&fresh(), false), pair("1"));
        let only = Methods { first: method, fallback: None, standing: Standing::Proved };
        assert_eq!(auto(&grant, false), only);
        assert_eq!(proved(&client("acme-client"), &token_url(PRODUCTION), &grant), Some(method));
        let of_another = methods(Authentication::Auto, &client("another"), &token_url(PRODUCTION), &grant, false);
        let elsewhere = methods(Authentication::Auto, &client("acme-client"), &token_url(STAGING), &grant, false);
        assert!(
            [of_another, elsewhere].iter().all(|methods| methods.standing == Standing::Untried),
            "each server and client shows for itself"
        );
        let probe = Methods { fallback: Some(method.other()), ..only };
        assert_eq!(auto(&grant, true), probe, "the server calls the client invalid: the other is tried, too");
    }
}

/// An operator that did not note the method sent the credentials in the body.
#[test]
fn a_pair_of_an_older_operator_proves_the_body() {
    let grant = Scene::living().grant().clone();
    assert_eq!(grant.authentication, None);
    assert_eq!(auto(&grant, false), Methods { first: Method::Body, fallback: None, standing: Standing::Proved });
}

#[test]
fn what_the_spec_names_is_used_and_a_public_client_names_itself_in_the_body() {
    let url = token_url(PRODUCTION);
    for (wanted, method) in [(Authentication::Basic, Method::Basic), (Authentication::Body, Method::Body)] {
        let named = methods(wanted, &client("acme-client"), &url, &fresh(), true);
        assert_eq!(named, Methods { first: method, fallback: None, standing: Standing::Proved });
    }
    let public = ClientCredentials { id: "acme-client".into(), secret: None };
    for wanted in [Authentication::Auto, Authentication::Basic, Authentication::Body] {
        assert_eq!(methods(wanted, &public, &url, &fresh(), true).first, Method::Body);
        assert_eq!(methods(wanted, &public, &url, &fresh(), true).fallback, None);
    }
}

/// I1: the second request of an attempt is allowed only where the server cannot have looked at the token.
#[test]
fn only_a_certain_not_authenticated_leads_to_the_other_method() {
    let error = |status, code: &str| reply(status, &format!(r#"{{"error":"{code}"}}"#));
    for (outcome, with_token, with_code) in [
        (reply(401, "<html>Unauthorized</html>"), true, true),
        (error(401, "invalid_client"), true, true),
        (error(400, "invalid_client"), true, true),
        (error(400, "unauthorized_client"), true, false),
        (error(400, "invalid_request"), true, false),
        (error(400, "invalid_scope"), false, false),
        (error(400, "unsupported_grant_type"), false, false),
        (error(401, "invalid_grant"), false, false),
        (error(401, "invalid_token"), false, false),
        (error(401, "some_code"), false, false),
        (reply(400, ""), false, false),
        (reply(403, "<html>Forbidden</html>"), false, false),
        (reply(429, ""), false, false),
        (reply(500, ""), false, false),
        (silence(), false, false),
        (no_connection(), false, false),
    ] {
        let failure = failure(outcome);
        for which in [Which::Candidate, Which::Current] {
            for standing in [Standing::Untried, Standing::OtherRejected] {
                assert_eq!(is_unauthenticated(&failure, which, standing), with_token, "{failure:?}");
            }
            assert_eq!(is_unauthenticated(&failure, which, Standing::Proved), with_code, "a probe: {failure:?}");
        }
        assert_eq!(is_unauthenticated(&failure, Which::Code, Standing::Untried), with_code, "{failure:?}");
    }
}

/// The claim was too old for a second request.
#[test]
fn a_method_that_was_rejected_alone_is_not_the_first_next_time() {
    let grant = after(&fresh(), Method::Basic, auto(&fresh(), false), invalid_client());
    assert_eq!(grant.authentication.as_ref().unwrap().experience, Experience::Rejected);
    assert_eq!(
        auto(&grant, false),
        Methods { first: Method::Body, fallback: Some(Method::Basic), standing: Standing::OtherRejected }
    );
    assert_eq!(proved(&client("acme-client"), &token_url(PRODUCTION), &grant), None);
}

/// A server that takes one method only may say so in its own words: the next attempt begins with the other. That is no word about the
/// token, so it does not bind it to the client, and asks for no user before both were tried.
#[test]
fn an_unknown_code_leads_to_the_other_method_in_the_next_attempt() {
    let unknown = || reply(401, r#"{"error":"Unauthorized"}"#);
    let mut grant = fresh();
    for (first, times) in [(Method::Basic, None), (Method::Body, Some(1)), (Method::Basic, Some(2))] {
        assert_eq!(auto(&grant, false).first, first);
        let methods = auto(&grant, false);
        grant = after(&grant, first, methods, unknown());
        let attempts = &grant.candidate.as_ref().unwrap().attempts;
        assert_eq!(attempts.unknown_rejections.as_ref().map(|rejected| rejected.times), times);
        assert!(!attempts.is_rejected_by_unknown_code());
    }
    assert_eq!(grant.candidate.as_ref().unwrap().client_id, None);
    let last = auto(&grant, false);
    let halted = after(&grant, last.first, last, unknown()).candidate.unwrap().attempts;
    assert!(halted.is_rejected_by_unknown_code() && halted.halt().is_some());
}

/// Only the next authorization can begin with the other method: a code is sent once.
#[test]
fn a_code_that_was_not_authenticated_decides_with_which_method_the_next_begins() {
    let grant = fresh();
    let (stored, mut attempt) = claimed(&grant, Which::Candidate, "here-1", at(0));
    attempt.which = Which::Code;
    attempt.terms.methods = auto(&grant, false);
    let answer = reply(400, r#"{"error":"invalid_request"}"#);
    let ending = AttemptResult { method: Method::Basic, ..ending(answer, at(0), at(1)) };
    assert_eq!(auto(&written(settle(&stored, &attempt, &ending)), false).first, Method::Body);
}

/// Doubt keeps its method; and a rejected token says nothing of the method.
#[test]
fn nothing_is_learned_from_other_failures() {
    for outcome in [silence(), no_connection(), reply(429, ""), invalid_grant()] {
        let grant = after(&fresh(), Method::Basic, auto(&fresh(), false), outcome);
        assert_eq!(grant.authentication, None);
    }
}

/// A token leaves a second time only if a second method may be tried.
#[test]
fn a_claim_gives_the_token_away_twice_only_where_there_are_two_methods() {
    use pleo_operator::domain::{
        commit::attempt::{Terms, claim},
        ledger::held::AttemptId,
    };
    let scene = Scene::adopted();
    for (methods, expected) in
        [(auto(scene.grant(), false), Some("consent-1")), (auto(Scene::living().grant(), false), None)]
    {
        let terms = Terms { methods, ..crate::scenes::terms() };
        let rotation = crate::scenes::rotation(Which::Candidate);
        let claiming = claim(scene.grant(), &rotation, AttemptId("here-1".into()), at(0), terms).unwrap();
        assert_eq!(claiming.fallback.as_ref().map(pleo_operator::domain::token::AuthorizationGrant::expose), expected);
    }
}
