//! People who consent by link, in the middle of everything: each in a browser of his own, at one replica, which may freeze or
//! die under his hands. He does as every page says, for a while.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::Router;
use pleo_operator::domain::token::{AuthorizationCode, Fingerprint};
use tokio::time::sleep;

use super::transcript::Transcript;
use crate::{
    links::browser::{Browser, Seen},
    stage::{
        pleo::account,
        world::{World, seconds},
    },
};

/// How often he looks at a page that says that it is not the end.
const LOOKS: usize = 150;

/// A code that was given to a browser, and where the human had consented.
#[derive(Clone)]
pub struct Given {
    pub code: Fingerprint,
    pub consented_at: String,
    /// The page in the end said that all is well.
    pub is_connected: bool,
}

/// All codes that were given, in order.
#[derive(Clone, Default)]
pub struct Visits(Arc<Mutex<Vec<Given>>>);

impl Visits {
    pub fn given(&self) -> Vec<Given> {
        self.0.lock().unwrap().clone()
    }

    /// The human's way from the link to the last page.
    pub async fn visit(self, world: Arc<World>, pages: Router, visitor: Visitor) {
        let Visitor { name, link, thinks, transcript } = visitor;
        let note = |what: String| transcript.note(world.server.elapsed(), "human", format!("{name}: {what}"));
        let mut human = Browser::default();
        let seen = human.get(&pages, &link).await;
        let Some(there) = seen.location else { return note(format!("reads {:?}", seen.title())) };
        sleep(thinks).await;
        if !world.pleo.knows_client(&there) {
            return note("reads that the server does not know the client".into());
        }
        let callback = world.pleo.allow(&there, &account(&name, &there));
        let code = url::Url::parse(&callback).unwrap();
        let code = code.query_pairs().find(|(key, _)| key == "code").map(|(_, code)| code.into_owned()).unwrap();
        let place = {
            let mut given = self.0.lock().unwrap();
            given.push(Given {
                code: AuthorizationCode::new(code).fingerprint(),
                consented_at: there,
                is_connected: false,
            });
            given.len() - 1
        };
        note("has said yes".into());
        let end = last_page(&mut human, &pages, &callback).await;
        self.0.lock().unwrap()[place].is_connected = end.title() == "Connected";
        note(format!("reads {:?}", end.title()));
    }
}

/// Who comes, and how long he takes to say yes.
pub struct Visitor {
    pub name: String,
    pub link: String,
    pub thinks: Duration,
    pub transcript: Transcript,
}

/// Reloads what does not come, and waits as long as he is told to.
async fn last_page(human: &mut Browser, pages: &Router, callback: &str) -> Seen {
    let mut seen = human.get(pages, callback).await;
    let mut address = callback.to_owned();
    for _ in 0..LOOKS {
        if let Some(result) = seen.location.take() {
            address = result;
        } else if seen.status != 503 && seen.status != 202 {
            break;
        }
        sleep(seconds(2)).await;
        seen = human.get(pages, &address).await;
    }
    seen
}
