//! What people are told before it is too late, at once, and when it could be an attack (T3, O2).

use jiff::Timestamp;
use pleo_operator::{
    api::{ConditionType, PleoConnectionStatus, SecuritySignal},
    domain::{
        commit::settlement::settle,
        ledger::{
            grant::{RejectionReason, Which},
            record::Unreadable,
        },
        plan::{decide::Decision, next_refresh::WaitReason},
        report::{
            notice::{NoticeKind, notice},
            signal::{Edit, Signal, signals},
            status,
        },
        snapshot::{GrantSecret, InitialGrant, Sharing, TokenSecret},
        spec::SpecProblem,
    },
};

use crate::scenes::{PRODUCTION, Scene, at, candidate, claimed, ending, invalid_grant, known, pair, written};

const DAY: i64 = 24 * 3600;

fn suspended() -> Scene {
    Scene::living().with_spec(|spec| spec.suspend = true)
}

fn warning(scene: &Scene) -> Option<(String, String)> {
    let conditions = scene.status().conditions;
    let found = conditions.into_iter().find(|found| found.type_ == ConditionType::GrantExpiring.as_str())?;
    assert_eq!(found.status, "True", "it is present only while it is True");
    Some((found.reason, found.message))
}

/// T3: refresh tokens live for 60 days at least.
#[test]
fn a_grant_that_grows_old_warns_fourteen_and_three_days_ahead() {
    for (seconds, reason) in [
        (46 * DAY - 1, None),
        (46 * DAY, Some("ExpiresWithin14Days")),
        (57 * DAY - 1, Some("ExpiresWithin14Days")),
        (57 * DAY, Some("ExpiresWithin3Days")),
        (60 * DAY - 1, Some("ExpiresWithin3Days")),
        (60 * DAY, Some("MayHaveExpired")),
        (400 * DAY, Some("MayHaveExpired")),
    ] {
        let told = warning(&suspended().at(seconds));
        assert_eq!(told.map(|told| told.0).as_deref(), reason, "after {seconds} s");
    }
    let (_, message) = warning(&suspended().at(50 * DAY)).unwrap();
    for words in ["2026-03-02T12:00:00Z", "2026-05-01T12:00:00Z", "unset spec.suspend"] {
        assert!(message.contains(words), "{message}");
    }
    let failing = Scene::living().at(50 * DAY);
    assert!(warning(&failing).unwrap().1.contains("fix what the other conditions report"));
    assert_eq!(
        warning(&Scene::dead(RejectionReason::GrantRefused).at(50 * DAY)),
        None,
        "there is nothing left to save"
    );
}

/// I6: it wakes up for each warning, and for nothing else.
#[test]
fn a_suspended_connection_wakes_up_for_its_warnings_only() {
    let mut scene = suspended().at(1000);
    for wake_up in [Some(46 * DAY), Some(57 * DAY), Some(60 * DAY), None] {
        let Decision::Wait(wait) = scene.rest() else { panic!("nothing to do") };
        assert_eq!((wait.until, wait.reason), (wake_up.map(at), WaitReason::Change));
        scene.go_to(wait.until.unwrap_or(Timestamp::MAX));
    }
    let mut foreign = suspended().seeing(|seen| seen.token = TokenSecret::NotOwned);
    assert!(matches!(foreign.rest(), Decision::Wait(wait) if wait.until == Some(at(46 * DAY))), "nothing else is told");
}

#[test]
fn a_refresh_takes_the_warning_back() {
    let mut scene = Scene::living().at(50 * DAY);
    assert!(warning(&scene).is_some());
    scene.exchange(pair("8"));
    assert_eq!(warning(&scene), None);
}

/// The status as it was before the last refusal, and after it; and what that tells.
fn refused_after(seconds: i64) -> Vec<Signal> {
    let mut scene = Scene::living().at(seconds);
    let before = scene.status();
    scene.exchange(invalid_grant());
    let after = scene.status_after(&before);
    assert_eq!(signals(&scene.snapshot, &after, &after, scene.now, &[]), [], "once");
    signals(&scene.snapshot, &before, &after, scene.now, &[])
}

#[test]
fn a_young_grant_that_is_refused_is_a_signal() {
    let told = refused_after(900);
    assert_eq!(told.iter().map(|signal| signal.kind).collect::<Vec<_>>(), [SecuritySignal::RejectedEarly]);
    assert!(told[0].message.contains("find out who"), "{}", told[0].message);
    assert_eq!(refused_after(46 * DAY - 1).len(), 1);
    assert_eq!(refused_after(46 * DAY), [], "it was old enough to be warned of");
}

/// The refusal of a consent that nobody had proved says nothing about a grant that lives.
#[test]
fn a_bad_consent_is_no_signal() {
    let mut first = Scene::adopted();
    let mut beside = Scene::living().at(100).consent("consent-2");
    let mut after_a_death = Scene::dead(RejectionReason::GrantRefused).at(100).consent("consent-2");
    for scene in [&mut first, &mut beside, &mut after_a_death] {
        let before = scene.status_after(&PleoConnectionStatus {
            last_refresh_time: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0))),
            ..PleoConnectionStatus::default()
        });
        scene.exchange(invalid_grant());
        let after = scene.status_after(&before);
        assert_eq!(signals(&scene.snapshot, &before, &after, scene.now, &[]), []);
    }
}

/// Also where a new consent waits beside it, and the condition says `NotTried`.
#[test]
fn a_young_grant_that_is_refused_is_a_signal_whatever_else_is_told() {
    let mut scene = Scene::living().at(900).with_grant(|grant| {
        grant.candidate = Some(candidate("consent-2", PRODUCTION));
        grant.history.push(known("consent-2", PRODUCTION));
    });
    let (before, grant) = (scene.status(), scene.grant().clone());
    let (claimed, attempt) = claimed(&grant, Which::Current, "here-1", scene.now);
    scene.store(written(settle(&claimed, &attempt, &ending(invalid_grant(), at(900), at(901)))));
    let after = scene.status_after(&before);
    assert!(after.conditions.iter().any(|found| found.reason == "NotTried"));
    let told = signals(&scene.snapshot, &before, &after, scene.now, &[]);
    assert_eq!(told.iter().map(|signal| signal.kind).collect::<Vec<_>>(), [SecuritySignal::RejectedEarly]);
}

/// What was lost on the way was nobody's attack.
#[test]
fn a_lost_rotation_is_no_signal() {
    let mut scene = Scene::living().at(900).with_current_tried(|tried| tried.outcome_unknown = true);
    let before = scene.status();
    scene.exchange(invalid_grant());
    let after = scene.status_after(&before);
    assert!(after.conditions.iter().any(|found| found.reason == "RotationLost"));
    assert_eq!(signals(&scene.snapshot, &before, &after, scene.now, &[]), []);
}

#[test]
fn a_grant_that_somebody_changed_is_a_signal_once() {
    let damaged = |seen: &mut pleo_operator::domain::snapshot::Snapshot| {
        seen.grant = GrantSecret::Unreadable(Unreadable::Damaged("its ledger is no JSON"));
    };
    let restored = |seen: &mut pleo_operator::domain::snapshot::Snapshot| {
        let GrantSecret::Ours(grant) = seen.grant.clone() else { panic!("a grant") };
        seen.grant = GrantSecret::Stale(grant);
    };
    let newer = Scene::living().seeing(|seen| seen.grant = GrantSecret::Unreadable(Unreadable::Newer(2)));
    for (scene, count) in [
        (Scene::living().seeing(damaged), 1),
        (Scene::living().seeing(restored), 1),
        (Scene::living().with_grant(|grant| grant.connection = "a namesake".into()).seeing(restored), 0),
        (newer, 0),
    ] {
        let before = Scene::living().status();
        let after = scene.status_after(&before);
        let told = signals(&scene.snapshot, &before, &after, scene.now, &[]);
        assert_eq!(told.len(), count, "{told:?}");
        assert!(told.iter().all(|signal| signal.kind == SecuritySignal::SecretEdited));
        assert_eq!(signals(&scene.snapshot, &after, &after, scene.now, &[]), [], "once");
        let edit = Edit { secret: "pleo-grant-acme".into(), by: "kubectl-\u{1b}edit".into(), at: Some(at(60)) };
        let told = signals(&scene.snapshot, &before, &after, scene.now, &[edit]);
        assert_eq!(told.len(), 1, "who did it is known, and told in one signal");
        assert!(
            told[0].message.starts_with("kubectl-edit wrote into the Secret pleo-grant-acme at 2026-03-02T12:01:00Z")
        );
    }
}

#[test]
fn a_shared_grant_is_a_signal_once() {
    let shared = Scene::living().consent("consent-2").seeing(|seen| {
        let InitialGrant::Present(token) = &mut seen.initial else { panic!("a token") };
        token.sharing = Sharing::With("finance/other".into());
    });
    let before = Scene::living().status();
    let after = shared.status_after(&before);
    let told = signals(&shared.snapshot, &before, &after, shared.now, &[]);
    assert_eq!(told.iter().map(|signal| signal.kind).collect::<Vec<_>>(), [SecuritySignal::GrantShared]);
    assert!(told[0].message.contains("finance/other"));
    assert_eq!(signals(&shared.snapshot, &after, &after, shared.now, &[]), []);
    // Where another reason comes first, too; and the way back says whose the token is.
    let dead = Scene::dead(RejectionReason::GrantRefused).seeing(|seen| seen.initial = shared.snapshot.initial.clone());
    let status = dead.status();
    assert_eq!(signals(&dead.snapshot, &status, &status, dead.now, &[]).len(), 1, "the caller tells it once");
    let told = status.conditions.iter().find(|found| found.type_ == "ReauthRequired").unwrap();
    assert!(
        told.message.contains("(the one in the initial grant belongs to the connection finance/other)"),
        "{}",
        told.message
    );
}

/// T3: also while the API server shows no Secrets, for weeks.
#[test]
fn a_grant_that_nobody_can_read_grows_old_all_the_same() {
    let young = Scene::living().status();
    let reason = |days: i64, before: &PleoConnectionStatus| {
        let status = status::without_secrets(before, 1, "forbidden", at(days * DAY));
        status.conditions.iter().find(|found| found.type_ == "GrantExpiring").map(|found| found.reason.clone())
    };
    assert_eq!(reason(45, &young), None);
    assert_eq!(reason(46, &young).as_deref(), Some("ExpiresWithin14Days"));
    assert_eq!(reason(61, &young).as_deref(), Some("MayHaveExpired"));
    let dead = Scene::dead(RejectionReason::GrantRefused).status_after(&young);
    assert_eq!(reason(61, &dead), None, "there is nothing left to save");
}

/// One notice for each step that matters to others, and no secret in it (I5).
#[test]
fn others_hear_when_a_human_is_needed_and_when_all_is_well_again() {
    let mut scene = Scene::new();
    let mut told = Vec::new();
    let mut before = PleoConnectionStatus::default();
    let mut step = |scene: &Scene| {
        let after = scene.status_after(&before);
        told.extend(notice(&scene.snapshot.spec, &before, &after, scene.now));
        assert_eq!(notice(&scene.snapshot.spec, &after, &after, scene.now), None, "once");
        before = after;
    };
    scene.rest();
    step(&scene);
    let mut scene = scene.at(10).consent("consent-1");
    step(&scene);
    scene.exchange(pair("1"));
    step(&scene);
    let mut scene = scene.at(850);
    scene.exchange(pair("2"));
    step(&scene);
    let mut scene = scene.at(1700);
    scene.exchange(invalid_grant());
    step(&scene);
    let heard: Vec<_> = told.iter().map(|notice| (notice.kind, notice.reason.as_str())).collect();
    assert_eq!(
        heard,
        [
            (NoticeKind::ReauthRequired, "NotAuthorized"),
            (NoticeKind::Recovered, "GrantValid"),
            (NoticeKind::ReauthRequired, "GrantRefused"),
        ]
    );
    let ids: std::collections::BTreeSet<_> =
        told.iter().map(pleo_operator::domain::report::notice::Notice::id).collect();
    assert_eq!(ids.len(), 3);
}

/// A human is called again when it is for another reason.
#[test]
fn a_new_reason_is_news() {
    let dead = Scene::dead(RejectionReason::GrantRefused).status();
    let mut other = dead.clone();
    let told = other.conditions.iter_mut().find(|found| found.type_ == "ReauthRequired").unwrap();
    told.reason = "GrantRestored".into();
    let heard = notice(&Scene::new().snapshot.spec, &dead, &other, at(0)).expect("a notice");
    assert_eq!((heard.kind, heard.reason.as_str()), (NoticeKind::ReauthRequired, "GrantRestored"));
}

/// CloudEvents 1.0: the required attributes, and a type for each kind.
#[test]
fn a_notice_is_a_cloud_event() {
    let scene = Scene::dead(RejectionReason::GrantRefused);
    let after = scene.status();
    let event = notice(&scene.snapshot.spec, &PleoConnectionStatus::default(), &after, scene.now).unwrap().event();
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    assert_eq!((text("specversion"), text("datacontenttype")), ("1.0".into(), "application/json".into()));
    assert_eq!(text("type"), "io.pleo.connection.reauth-required");
    assert_eq!(text("source"), "/apis/pleo.io/v1alpha1/namespaces/finance/pleoconnections/acme");
    assert_eq!((text("subject"), text("time")), ("finance/acme".into(), "2026-03-02T12:00:00Z".into()));
    assert!(!text("id").is_empty());
    assert_eq!(event["data"]["reason"], "GrantRefused");
    let told = after.conditions.iter().find(|found| found.type_ == "ReauthRequired").unwrap();
    assert_eq!(event["data"]["message"], told.message);
}

/// The way back is told as it is there: a link only where there is one.
#[test]
fn the_message_names_the_link_where_there_is_one() {
    let message = |scene: &Scene| {
        let conditions = scene.status().conditions;
        conditions.into_iter().find(|found| found.type_ == "ReauthRequired").unwrap().message
    };
    let link = "open the link in status.authorizationURL";
    let plugin = "`kubectl pleo connect acme -n finance`";
    let by_hand = "Secret acme-grant";
    let linked = |scene: Scene| scene.seeing(|seen| seen.links = Some("https://pleo.example.com".into()));
    for scene in [Scene::dead(RejectionReason::GrantRefused), Scene::new()] {
        let without = message(&scene);
        assert!(!without.contains(link) && without.contains(plugin) && without.contains(by_hand), "{without}");
        let with = message(&linked(scene));
        assert!(with.contains(link) && with.contains(plugin) && with.contains(by_hand), "{with}");
    }
    let no_page = linked(Scene::dead(RejectionReason::GrantRefused))
        .with_spec(|spec| spec.server.as_mut().unwrap().authorization_url = Err("spec.server.… is missing".into()));
    let without_links = no_page.clone().seeing(|seen| seen.links = None);
    assert!(!message(&without_links).contains("there is no link"), "nobody serves links at all");
    let no_server = Scene::new().with_spec(|spec| spec.server = Err(SpecProblem::NotAllowed("https://x".into())));
    assert!(!message(&no_server).contains("kubectl pleo"), "{}", message(&no_server));
    assert!(message(&no_page).contains("(there is no link: spec.server.… is missing)"), "{}", message(&no_page));
    let restored = linked(Scene::living()).seeing(|seen| {
        let GrantSecret::Ours(grant) = seen.grant.clone() else { panic!("a grant") };
        seen.grant = GrantSecret::Stale(grant);
    });
    let suspended = linked(Scene::dead(RejectionReason::GrantRefused)).with_spec(|spec| spec.suspend = true);
    for scene in [restored, suspended] {
        assert!(!message(&scene).contains(link) && message(&scene).contains(plugin), "{}", message(&scene));
    }
}

/// An event for each warning: its reason changes with it.
#[test]
fn each_warning_is_an_event() {
    let statuses: Vec<_> = [45, 46, 57, 60].map(|days| suspended().at(days * DAY)).iter().map(Scene::status).collect();
    let told: Vec<_> = statuses
        .windows(2)
        .flat_map(|pair| status::transitions(&pair[0], &pair[1]))
        .map(|told| (told.reason, told.warning))
        .collect();
    let reasons = ["ExpiresWithin14Days", "ExpiresWithin3Days", "MayHaveExpired"];
    assert_eq!(told, reasons.map(|reason| (reason.to_owned(), true)));
}
