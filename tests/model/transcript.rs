//! A path as people read it: what happened, when, and what it changed.

use std::fmt::Write;

use pleo_operator::domain::{
    failure::Outcome,
    ledger::{
        grant::{Grant, Which},
        held::Attempts,
        known_token::Verdict,
    },
    plan::decide::Decision,
};

use crate::{
    protocol::Action,
    world::{
        exchange::Fate,
        state::{Answer, Doing, State},
        tokens::{self, Side},
    },
};

/// The whole course, a line for each step.
pub fn transcript(path: Vec<(State, Option<Action>)>) -> String {
    let mut text = String::new();
    for pair in path.windows(2) {
        let [(before, Some(action)), (after, _)] = pair else { continue };
        writeln!(text, "{:>5} s  {}", u32::from(before.tick) * 15, step(before, action, after)).unwrap();
        for change in changes(before, after) {
            writeln!(text, "            {change}").unwrap();
        }
    }
    text
}

fn step(before: &State, action: &Action, after: &State) -> String {
    let pod = |index: &usize| format!("{}{}", ["A", "B"][*index], before.pods[*index].process);
    let request = |index: &usize| {
        let request = &before.requests[*index];
        format!("{} to {:?}", request.token, request.to)
    };
    match action {
        Action::Tick => format!("time passes, to {} s", u32::from(after.tick) * 15),
        Action::NobodyWakes => "nobody will ever wake up by himself".into(),
        Action::Look(index) => format!("{} looks{}", pod(index), seen(after, *index)),
        Action::Decide(index) => format!("{} decides{}", pod(index), seen(after, *index)),
        Action::Act(index, fate) => format!("{} {}{}", pod(index), deed(before, *index), lost(*fate)),
        Action::Claim(index, fate) => format!("{} writes its claim{}", pod(index), lost(*fate)),
        Action::Send(index) => match after.requests.len() > before.requests.len() {
            true => format!("{} sends {}", pod(index), request_of(after)),
            false => format!("{} finds the fence closed", pod(index)),
        },
        Action::CannotSend(index) => format!("{} cannot send", pod(index)),
        Action::TimeOut(index) => format!("{} waits no longer for the answer", pod(index)),
        Action::Settle(index, fate) => format!("{} stores the outcome{}", pod(index), lost(*fate)),
        Action::GiveUp(index) => format!("{} stops trying to store the failure", pod(index)),
        Action::Crash(index) => format!("{} crashes", pod(index)),
        Action::Freeze(index) => format!("{} freezes", pod(index)),
        Action::Thaw(index) => format!("{} thaws", pod(index)),
        Action::Judge(index) => format!("the server gets {}", request(index)),
        Action::CalledInactive(index) => format!("{} is told that the current token is inactive", pod(index)),
        Action::Unauthenticate(index) => format!("the server does not authenticate {}", request(index)),
        Action::Throttle(index) => format!("the server answers 429 to {}", request(index)),
        Action::LoseRequest(index) => format!("the request is lost: {}", request(index)),
        Action::Deliver(index) => format!("the answer arrives: {}", request(index)),
        Action::LoseAnswer(index) => format!("the answer is lost: {}", request(index)),
        Action::Reset(index) => format!("the connection breaks: {}", request(index)),
        Action::ApplyLate(_) => "a write that nobody has an answer to is applied".into(),
        Action::ApiDown => "the API server is gone".into(),
        Action::ApiUp => "the API server is back".into(),
        Action::Refresh(index) => format!("the cache of {} is renewed", pod(index)),
        Action::Human(deed) => format!("a human: {deed:?}"),
    }
}

fn request_of(state: &State) -> String {
    state.requests.last().map_or_else(String::new, |request| format!("{} to {:?}", request.token, request.to))
}

fn lost(fate: Fate) -> &'static str {
    match fate {
        Fate::Answered => "",
        Fate::AnswerLost => ", and the answer is lost",
        Fate::Silence => ", and neither the answer nor what it reads then arrives",
        Fate::Late => ", and that is under way for long",
    }
}

fn seen(state: &State, pod: usize) -> &'static str {
    match &state.pods[pod].doing {
        Doing::Idle => ": nothing to do",
        Doing::Looking(look) => match (&look.token, &look.grant, &look.connection) {
            (_, None, None) => " at the token Secret",
            (_, Some(_), None) => " at the grant",
            _ => " at the connection",
        },
        Doing::Looked(_) => " at all",
        Doing::Decided(decided) => match &decided.1 {
            Decision::Publish(_) => ": the token Secret is to be written",
            Decision::Adopt(_) => ": the consent is to be adopted",
            Decision::Rotate(rotation) => match rotation.which {
                Which::Candidate => ": the candidate is to be sent",
                Which::Current => ": the current token is to be sent",
                Which::Code => ": the code is to be sent",
            },
            Decision::RemoveAdoptedToken(_) => ": the initial grant is to be tidied",
            Decision::DropAuthorizationCode(_) => ": the code is to be forgotten",
            Decision::CreateLink => ": a link is to be made",
            Decision::Ignore
            | Decision::ProveIntrospection
            | Decision::DeleteOldSecret(_)
            | Decision::Restart(_)
            | Decision::Wait(_) => "",
        },
        Doing::Claiming(_) | Doing::Claimed(_) | Doing::Sent(..) | Doing::Ended { .. } => "",
    }
}

fn deed(state: &State, pod: usize) -> &'static str {
    let Doing::Decided(decided) = &state.pods[pod].doing else { return "acts" };
    match decided.1 {
        Decision::Publish(_) => "writes the token Secret",
        Decision::Adopt(_) => "adopts the consent",
        Decision::Rotate(_) => "claims",
        Decision::RemoveAdoptedToken(_) => "tidies the initial grant",
        Decision::DropAuthorizationCode(_) => "forgets the code",
        Decision::CreateLink => "makes a link",
        Decision::Ignore
        | Decision::ProveIntrospection
        | Decision::DeleteOldSecret(_)
        | Decision::Restart(_)
        | Decision::Wait(_) => "acts",
    }
}

/// What is stored, and what is in somebody's hands, where it is not what it was.
fn changes(before: &State, after: &State) -> Vec<String> {
    let grant = |state: &State| state.grant.as_ref().map_or_else(|| "none".to_owned(), |grant| told(&grant.value));
    let token = |state: &State| {
        let content = state.token.as_ref().and_then(|token| token.value.content.clone());
        content.map_or_else(
            || "none".to_owned(),
            |content| {
                let access =
                    content.access.map_or_else(|| "no token".to_owned(), |access| access.token.expose().to_owned());
                format!("{access}, rotation {}, {}", content.rotation, content.state)
            },
        )
    };
    let initial = |state: &State| state.initial.token.map_or_else(|| "empty".to_owned(), |token| token.to_string());
    let spec =
        |state: &State| format!("{:?}{}", state.spec.server, if state.spec.suspended { ", suspended" } else { "" });
    let families = |state: &State| {
        let family = |(family, index): (&crate::world::state::Family, u8)| {
            let token = tokens::Token { family: index, number: family.current };
            let home = if family.home == Side::Staging { " (Staging)" } else { "" };
            format!("{token}{home}{}", if family.alive { "" } else { " dead" })
        };
        state.families.iter().zip(0_u8..).map(family).collect::<Vec<_>>().join(", ")
    };
    let hands = |state: &State| {
        let hand = |pod: usize| match &state.pods[pod].doing {
            Doing::Ended { job, ending, .. } => Some(format!("{} has {}", job.name, outcome(&ending.outcome))),
            _ => None,
        };
        (0..2).filter_map(hand).collect::<Vec<_>>().join(", ")
    };
    let answers = |state: &State| {
        let answer = |answer: &Answer| format!("answer on its way: {answer:?}");
        state.requests.iter().filter_map(|request| request.answer.as_ref()).map(answer).collect::<Vec<_>>().join(", ")
    };
    type Part<'a> = (&'a str, &'a dyn Fn(&State) -> String);
    let parts: [Part; 7] = [
        ("grant: ", &grant),
        ("pods get: ", &token),
        ("initial grant: ", &initial),
        ("spec: ", &spec),
        ("good at the server: ", &families),
        ("", &hands),
        ("", &answers),
    ];
    let changed = parts.into_iter().filter(|(_, part)| part(before) != part(after) && !part(after).is_empty());
    changed.map(|(name, part)| format!("{name}{}", part(after))).collect()
}

fn outcome(outcome: &Outcome) -> String {
    match crate::world::books::pair_in(outcome) {
        Some(pair) => format!("the pair {pair} in hand"),
        None => format!("an outcome to store: {}", outcome.label()),
    }
}

/// A grant in one line.
fn told(grant: &Grant) -> String {
    let doubt = |attempts: &Attempts| if attempts.outcome_unknown { " in doubt" } else { "" };
    let mut parts = vec![format!("rotation {}", grant.rotation)];
    if let (Some(token), Some(current)) = (tokens::current(grant), &grant.current) {
        parts.push(format!("live {token}{}", doubt(&current.refresh.attempts)));
    }
    if let (Some(token), Some(held)) = (tokens::candidate(grant), &grant.candidate) {
        parts.push(format!("candidate {token} for {:?}{}", Side::of(&held.server), doubt(&held.attempts)));
    }
    if let Some(code) = tokens::code(grant) {
        parts.push(format!("code {code}"));
    }
    if let Some(claim) = &grant.claim {
        parts.push(format!("claim {} on {}", claim.attempt.0, tokens::Token::named(&claim.fingerprint)));
    }
    if let Some(refused) = &grant.last_rejection {
        parts.push(format!("rejected {}", tokens::Token::named(&refused.fingerprint)));
    }
    let adopted = grant.history.iter().map(|old| {
        let verdict = match old.verdict {
            Verdict::Pending => String::new(),
            decided => format!(" {decided:?}"),
        };
        format!("{}@{:?}{verdict}", tokens::Token::named(&old.fingerprint), Side::of(&old.server))
    });
    parts.push(format!("history {}", adopted.collect::<Vec<_>>().join(" ")));
    parts.join(", ")
}
