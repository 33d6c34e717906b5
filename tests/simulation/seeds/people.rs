//! What people do to a connection, sensible or not. Whatever fails, fails: people try what they like.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use pleo_operator::{
    api::{PleoConnection, names},
    domain::token::{ClientCredentials, Fingerprint},
};
use serde_json::{Value, json};

use super::plan::{Connection, Deed};
use crate::{
    apiserver::Rng,
    stage::{
        pleo::{CLIENT_ID, CLIENT_SECRET, OTHER_CLIENT_ID, OTHER_CLIENT_SECRET, account},
        world::{CLIENT, NAMESPACE, World},
    },
};

/// What the crowd remembers.
pub struct People {
    rng: Rng,
    /// Every token ever put into the initial grant of a connection.
    put: BTreeMap<String, Vec<String>>,
    backups: BTreeMap<String, Secret>,
    /// Connections that are to be declared again.
    absent: Vec<(Duration, String, bool)>,
    requests: u32,
}

impl People {
    pub fn new(seed: u64) -> Self {
        let (put, backups) = (BTreeMap::new(), BTreeMap::new());
        Self { rng: Rng::new(seed ^ 0xc0d), put, backups, absent: Vec::new(), requests: 0 }
    }

    pub async fn set_up(&mut self, world: &World, connection: &Connection) {
        let name = connection.name;
        self.consent(world, name).await;
        world.pleo.lives(name, connection.life);
        world.pleo.lives(&account(name, "staging"), connection.life);
        world.declare(name).await;
        let initial = json!({"keep": connection.keep});
        edit(world, name, json!({"initialGrant": initial, "retryTimeout": connection.retry_timeout})).await;
    }

    /// A connection that was deleted comes back after a while.
    pub async fn come_back(&mut self, world: &World, now: Duration) -> Option<String> {
        let at = self.absent.iter().position(|(back, ..)| *back <= now)?;
        let (_, name, consents) = self.absent.remove(at);
        if consents {
            self.consent(world, &name).await;
        }
        world.declare(&name).await;
        Some(format!("declares {name} again{}", if consents { ", with a new consent" } else { "" }))
    }

    pub fn expects_somebody_back(&self) -> bool {
        !self.absent.is_empty()
    }

    /// The user consents at the server that the connection names now.
    pub async fn consent(&mut self, world: &World, name: &str) {
        let client_id = world.secret(CLIENT, "client_id").unwrap_or_default();
        let token = world.pleo.consent_to(&account(name, server_of(&world.connection(name))), &client_id);
        self.put(world, name, token).await;
    }

    async fn put(&mut self, world: &World, name: &str, token: String) {
        world.put_secret(&initial(name), &[("refresh_token", &token)]).await;
        let put = self.put.entry(name.into()).or_default();
        put.retain(|old| *old != token);
        put.push(token);
    }

    pub async fn do_it(&mut self, world: &World, now: Duration, name: &str, deed: Deed) {
        match deed {
            Deed::Consent => self.consent(world, name).await,
            Deed::PutOldTokenBack => self.put_old_token_back(world, name).await,
            Deed::PutGarbage => world.put_secret(&initial(name), &[("refresh_token", "no\ttoken")]).await,
            Deed::ShareGrant => self.share(world, name).await,
            Deed::EditSpec => {
                let before = format!("{}s", 5 + self.rng.below(120));
                edit(world, name, json!({"refreshBefore": before})).await;
            }
            Deed::Rename => {
                let other = format!("{name}-token{}", ["", "-2"][usize::from(self.rng.one_in(2))]);
                edit(world, name, json!({"secretName": other})).await;
            }
            Deed::Suspend => edit(world, name, json!({"suspend": true})).await,
            Deed::Resume => edit(world, name, json!({"suspend": false})).await,
            Deed::RequestRefresh => self.request_refresh(world, name).await,
            Deed::SwitchServer => self.switch(world, name).await,
            Deed::SwitchServerAndConsent => {
                self.switch(world, name).await;
                self.consent(world, name).await;
            }
            Deed::Recreate | Deed::RecreateAndConsent => {
                let _ = connections(world).delete(name, &DeleteParams::default()).await;
                let back = now + Duration::from_millis(self.rng.below(30_000));
                self.absent.retain(|(_, absent, _)| absent != name);
                self.absent.push((back, name.into(), deed == Deed::RecreateAndConsent));
            }
            Deed::DeleteGrant => delete(world, &names::grant_secret(name)).await,
            Deed::DeleteToken => delete(world, &token_secret(world, name)).await,
            Deed::EditToken => {
                let garbage = json!({"stringData": {"access_token": "mine", "note": "hello"}});
                patch_secret(world, &token_secret(world, name), garbage).await;
            }
            Deed::EditRotation => {
                let no_token =
                    json!({"access_token": null, "token_type": null, "expires_at": null, "rotation": "OTk5"});
                patch_secret(world, &token_secret(world, name), json!({"data": no_token})).await;
            }
            Deed::LabelSecrets => {
                let label = json!({"metadata": {"labels": {"team": format!("t{}", self.rng.below(100))}}});
                for secret in [names::grant_secret(name), token_secret(world, name), initial(name)] {
                    patch_secret(world, &secret, label.clone()).await;
                }
            }
            Deed::BackUp => {
                if let Ok(secret) = secrets(world).get(&names::grant_secret(name)).await {
                    self.backups.insert(name.into(), secret);
                }
            }
            Deed::Restore => self.restore(world, name).await,
            Deed::BreakClientSecret => world.put_secret(CLIENT, &[("client_secret", "wrong")]).await,
            Deed::SwitchClient => {
                let other = [("client_id", OTHER_CLIENT_ID), ("client_secret", OTHER_CLIENT_SECRET)];
                world.put_secret(CLIENT, &other).await;
            }
            Deed::MistypeClient => {
                world.put_secret(CLIENT, &[("client_id", "sandbox-clietn"), ("client_secret", CLIENT_SECRET)]).await;
            }
            Deed::MendClientSecret => mend_client(world).await,
        }
    }

    async fn put_old_token_back(&mut self, world: &World, name: &str) {
        let put = self.put.get(name).cloned().unwrap_or_default();
        let at = usize::try_from(self.rng.below(put.len() as u64)).unwrap_or_default();
        if let Some(token) = put.get(at) {
            self.put(world, name, token.clone()).await;
        }
    }

    /// Somebody takes the token of another connection.
    async fn share(&mut self, world: &World, name: &str) {
        let mut others = self.put.iter().filter(|(other, _)| *other != name).filter_map(|(_, put)| put.last());
        if let Some(token) = others.next_back().cloned() {
            world.put_secret(&initial(name), &[("refresh_token", &token)]).await;
        }
    }

    pub async fn request_refresh(&mut self, world: &World, name: &str) {
        self.requests += 1;
        let asked = json!({names::REFRESH_REQUESTED_ANNOTATION: format!("request-{}", self.requests)});
        patch(world, name, json!({"metadata": {"annotations": asked}})).await;
    }

    async fn switch(&mut self, world: &World, name: &str) {
        let other = if server_of(&world.connection(name)).contains("staging") { "Production" } else { "Staging" };
        edit(world, name, json!({"environment": other})).await;
    }

    /// A backup tool puts back what it has, over what is there.
    async fn restore(&mut self, world: &World, name: &str) {
        let Some(mut backup) = self.backups.get(name).cloned() else { return };
        let there = secrets(world).get(&names::grant_secret(name)).await.ok();
        backup.metadata.resource_version = there.as_ref().and_then(|secret| secret.metadata.resource_version.clone());
        backup.metadata.uid = there.as_ref().and_then(|secret| secret.metadata.uid.clone());
        let _ = match there {
            Some(_) => secrets(world).replace(&names::grant_secret(name), &PostParams::default(), &backup).await,
            None => secrets(world).create(&PostParams::default(), &backup).await,
        };
    }
}

pub async fn mend_client(world: &World) {
    world.put_secret(CLIENT, &[("client_id", CLIENT_ID), ("client_secret", CLIENT_SECRET)]).await;
}

/// The client that the client Secret names, as ledgers name it.
pub fn client_of(world: &World) -> Option<Fingerprint> {
    let id = world.secret(CLIENT, "client_id")?;
    Some(ClientCredentials { id, secret: None }.id_fingerprint())
}

pub fn initial(name: &str) -> String {
    format!("{name}-grant")
}

/// The Secret that pods of this connection mount.
pub fn token_secret(world: &World, name: &str) -> String {
    let connection = world.connection(name);
    connection["spec"]["secretName"].as_str().map_or_else(|| format!("{name}-token"), str::to_owned)
}

/// The token URL of the server that a connection names, as far as it matters.
pub fn server_of(connection: &Value) -> &'static str {
    if connection["spec"]["environment"] == "Staging" {
        "https://auth.staging.pleo.io/oauth/token"
    } else {
        "https://auth.pleo.io/oauth/token"
    }
}

fn connections(world: &World) -> Api<PleoConnection> {
    Api::namespaced(world.user(), NAMESPACE)
}

fn secrets(world: &World) -> Api<Secret> {
    Api::namespaced(world.user(), NAMESPACE)
}

pub async fn edit(world: &World, name: &str, spec: Value) {
    patch(world, name, json!({"spec": spec})).await;
}

async fn patch(world: &World, name: &str, patch: Value) {
    let _ = connections(world).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
}

async fn patch_secret(world: &World, name: &str, patch: Value) {
    let _ = secrets(world).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
}

pub async fn delete(world: &World, name: &str) {
    let _ = secrets(world).delete(name, &DeleteParams::default()).await;
}
