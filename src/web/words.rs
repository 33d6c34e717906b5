//! The text of each page, for the person who was asked to click and may know nothing about clusters.

use super::pages::{Page, Severity};
use crate::domain::ledger::authorization::SessionEnd;

/// The link leads nowhere. Without a valid link, no one learns whether there is such a connection.
pub fn void_link() -> Page {
    Page::new(
        410,
        Severity::Bad,
        "This link is not good any more",
        "It was used, it has expired, a newer one has taken its place, or it was not copied as a whole.",
    )
    .and("Ask the person who sent it for a new one. (If an authorization is still needed, it is in status.authorizationURL.)")
}

/// The way to the server and back took too long.
pub fn too_slow(again: Option<String>) -> Page {
    Page::new(
        410,
        Severity::Bad,
        "That took too long",
        "You came back after more than a quarter of an hour. Nothing was changed.",
    )
    .with_action("Try again", again)
}

/// The browser that comes back is not the one that left.
pub fn other_browser() -> Page {
    Page::new(
        400,
        Severity::Bad,
        "This did not begin in this browser",
        "You came back from the login, but this browser did not begin here, or keeps no cookies. Nothing was changed.",
    )
    .and("Open the link that you were sent once more, and stay in one browser.")
}

/// The answer names another server than the one that was asked.
pub fn other_server() -> Page {
    Page::new(
        400,
        Severity::Bad,
        "This answer is not from the server that was asked",
        "This may be an attack. Nothing was changed.",
    )
    .and("Open the link that you were sent once more. If this happens again, tell those who look after the connection.")
}

/// Something that cannot be an answer of the server.
pub fn not_understood() -> Page {
    Page::new(400, Severity::Bad, "This address is not complete", "A part of it is missing, twice there, or damaged.")
        .and("Open the link that you were sent once more.")
}

/// The user said no, or the server did not let it come to that. `error` is one of RFC 6749 section 4.1.2.1, or nothing.
pub fn not_authorized(error: Option<&str>, again: Option<String>) -> Page {
    let (title, text) = match error {
        Some("access_denied") => {
            ("You did not allow it", "Nothing was changed. Without an authorization the connection stays as it is.")
        }
        Some("server_error" | "temporarily_unavailable") => (
            "The server cannot do it now",
            "It says that it has trouble of its own. Nothing was changed. Try again later.",
        ),
        Some("unauthorized_client" | "invalid_request" | "unsupported_response_type" | "invalid_scope") => (
            "The server does not accept the request",
            "Nothing was changed, and trying again will not help: those who look after the connection must see whether the client, its redirect address and its scopes are registered as they are asked for.",
        ),
        _ => ("It was not allowed", "The server gave a reason that is not known here. Nothing was changed."),
    };
    let page = Page::new(200, Severity::Bad, title, text);
    let page = match error {
        Some(error) => page.and(format!("The server said: {error}.")),
        None => page,
    };
    page.with_action("Try again", again)
}

/// A user cannot authorize now, for a reason that someone else must fix.
pub fn not_now(why: &str) -> Page {
    Page::new(409, Severity::Bad, "This connection cannot be authorized now", why)
        .and("Its administrators must fix that first. Then open the link again.")
}

/// The cluster does not answer.
pub fn trouble() -> Page {
    Page::new(
        503,
        Severity::Bad,
        "Something does not work right now",
        "The cluster does not answer, or is too busy. Try again in a minute, with the link that you were sent.",
    )
}

/// There is no such page.
pub fn nothing_here() -> Page {
    Page::new(404, Severity::Bad, "There is nothing here", "Open the link that you were sent, as a whole.")
}

/// How the visit ended; none: not yet. `again`: a new link, where there is one.
pub fn result(end: Option<SessionEnd>, onward: Option<String>, again: Option<String>) -> Page {
    let Some(end) = end else {
        let mut page = Page::new(
            202,
            Severity::Waiting,
            "One moment",
            "Your authorization has arrived and is being processed. This page reloads automatically.",
        );
        page.looks_again = true;
        return page;
    };
    let (title, text) = match end {
        SessionEnd::Connected => {
            let page = Page::new(
                200,
                Severity::Good,
                "Connected",
                "The connection is authorized and works. You can close this page.",
            );
            return page.with_action("Go on", onward);
        }
        SessionEnd::Rejected => {
            ("The server rejected your authorization", "It may have been used before, or have waited for too long.")
        }
        SessionEnd::Misconfigured => (
            "The server does not accept the client",
            "Those who look after the connection must look at the client's Secret and at what is registered with the server.",
        ),
        SessionEnd::Failed => ("The server could not be asked", "It was not reached, or did not answer as it should."),
        SessionEnd::Lost => (
            "It was interrupted",
            "A program was stopped at the wrong moment, and your authorization was lost with it.",
        ),
        SessionEnd::Replaced => {
            ("Someone else was faster", "A newer authorization is in use. There is nothing left to do here.")
        }
        SessionEnd::TooLate => {
            ("It was not processed in time", "The connection or its client was changed, or it was suspended meanwhile.")
        }
    };
    let page = Page::new(200, Severity::Bad, title, text);
    match (end, again) {
        (SessionEnd::Replaced, _) => page.with_action("Go on", onward),
        (_, Some(again)) => page.and("Please try once more.").with_action("Try again", Some(again)),
        (_, None) => {
            let mut page = page.and("Please try again: a new link is being created in status.authorizationURL.");
            page.looks_again = true;
            page
        }
    }
}

/// An error that we know (RFC 6749 section 4.1.2.1): no other word of a request's is passed on.
pub fn known_error(error: &str) -> Option<&'static str> {
    const ERRORS: [&str; 7] = [
        "access_denied",
        "invalid_request",
        "invalid_scope",
        "server_error",
        "temporarily_unavailable",
        "unauthorized_client",
        "unsupported_response_type",
    ];
    ERRORS.into_iter().find(|known| *known == error)
}
